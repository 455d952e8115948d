# The alerts and the text of their mails. The rules are in monitoring_queries.tf.

locals {
  monitored_webhook = "notify" # the name in notify.tf, which the first apply does not have yet
  # By their names in pubsub.tf, which the first apply does not have yet.
  monitored_subscriptions = concat([for queue in local.queues : "${queue}-push"], ["dead-letters-push"])
  all_notification_channels = concat(
    var.notification_channels,
    [for channel in google_monitoring_notification_channel.email : channel.name],
  )
}

resource "google_monitoring_notification_channel" "email" {
  for_each = var.notification_emails

  display_name = "audio-pipeline ${var.environment}: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }
  force_delete = true # an address that is taken out is still in the policies at that moment

  depends_on = [google_project_service.api["monitoring.googleapis.com"]]
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  display_name          = "audio-pipeline ${var.environment}: ${each.key}"
  combiner              = "OR"
  enabled               = each.value.enabled
  severity              = each.value.severity
  notification_channels = local.all_notification_channels
  user_labels = {
    alert       = each.key
    application = "audio-pipeline"
    environment = var.environment
  }

  conditions {
    display_name = each.key

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.hold
      evaluation_interval = "60s"

      # A metric that has just been made cannot be found for minutes, and one that never counted
      # cannot at all: with the check, the first apply of a project fails.
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "86400s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "audio-pipeline ${var.environment}: ${each.key}"
    content   = <<-EOT
      **What it means.** ${each.value.meaning}

      **First look.** ${each.value.look}

      **What to do.** [Runbook: ${each.key}](${var.runbook_url}#alert-${each.key})
    EOT
  }

  depends_on = [
    google_logging_metric.log,
    google_project_service.api["monitoring.googleapis.com"],
  ]
}
