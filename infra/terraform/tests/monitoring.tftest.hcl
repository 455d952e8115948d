# Alerts, their recipients, and values that would make a difference in every plan.

mock_provider "google" {
  mock_data "google_project" {
    defaults = {
      number = "123456789012"
    }
  }

  mock_resource "google_service_account" {
    defaults = {
      email     = "someone@my-project.iam.gserviceaccount.com"
      id        = "projects/my-project/serviceAccounts/someone@my-project.iam.gserviceaccount.com"
      member    = "serviceAccount:someone@my-project.iam.gserviceaccount.com"
      name      = "projects/my-project/serviceAccounts/someone@my-project.iam.gserviceaccount.com"
      unique_id = "100000000000000000001"
    }
  }

  mock_resource "google_cloudfunctions2_function" {
    defaults = {
      service_config = {
        uri = "https://function-abc-ew.a.run.app"
      }
    }
  }

  mock_resource "google_cloud_run_v2_service" {
    defaults = {
      uri = "https://service-abc-ew.a.run.app"
    }
  }

  mock_resource "google_cloud_run_v2_job" {
    defaults = {
      id = "projects/my-project/locations/europe-west1/jobs/extract-audio"
    }
  }

  mock_resource "google_pubsub_topic" {
    defaults = {
      id = "projects/my-project/topics/some-topic"
    }
  }

  mock_resource "google_secret_manager_secret" {
    defaults = {
      id = "projects/my-project/secrets/sftp-credentials"
    }
  }

  mock_resource "google_artifact_registry_repository" {
    defaults = {
      id = "projects/my-project/locations/europe-west1/repositories/some-repository"
    }
  }

  mock_resource "google_monitoring_notification_channel" {
    defaults = {
      name = "projects/my-project/notificationChannels/42"
    }
  }

  mock_resource "google_monitoring_alert_policy" {
    defaults = {
      name = "projects/my-project/alertPolicies/7"
    }
  }
}

variables {
  project_id  = "my-project"
  region      = "europe-west1"
  environment = "dev"
  image       = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/extract-audio@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  web_image   = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/web@sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
}

run "dev" {
  command = apply

  assert {
    condition = toset(keys(google_monitoring_alert_policy.alert)) == toset([
      "channel-expiry", "dead-letters", "failure-rate", "maintain-failing", "maintain-silent", "no-new-files", "oldest-unacked", "webhook-5xx",
    ])
    error_message = "Without an SFTP server, no missed night raises an alert."
  }

  assert {
    condition     = [for name, alert in google_monitoring_alert_policy.alert : name if !alert.enabled] == ["no-new-files"]
    error_message = "In dev, a day without recordings raises no alert."
  }

  assert {
    condition = alltrue([
      for name, alert in google_monitoring_alert_policy.alert :
      alert.documentation[0].mime_type == "text/markdown" && strcontains(alert.documentation[0].content, "(docs/operations.md#alert-${name})") && contains(["CRITICAL", "ERROR", "WARNING"], alert.severity) && alert.alert_strategy[0].auto_close != "" && length(alert.documentation[0].content) < 8192
    ])
    error_message = "Every alert has a meaning, a severity, and a link to the runbook."
  }

  assert {
    condition = alltrue([
      for alert in google_monitoring_alert_policy.alert :
      length(alert.conditions) == 1 && alert.conditions[0].condition_prometheus_query_language[0].disable_metric_validation
    ])
    error_message = "A metric that does not exist yet does not stop a first apply."
  }

  assert {
    condition = alltrue([
      for name, alert in local.all_alerts : alltrue([
        for metric in alert.metrics : contains(keys(google_logging_metric.log), metric) && strcontains(alert.query, "user_${metric}")
      ])
    ])
    error_message = "Alerts ask for metrics that are made."
  }

  assert {
    condition = alltrue([
      for metric in google_logging_metric.log :
      metric.metric_descriptor[0].metric_kind == "DELTA" && (
        metric.metric_descriptor[0].value_type == "INT64" && length(metric.bucket_options) == 0 && metric.value_extractor == null ||
        metric.metric_descriptor[0].value_type == "DISTRIBUTION" && length(metric.bucket_options) == 1 && metric.value_extractor != null
      )
    ])
    error_message = "Log-based metrics are counters or distributions."
  }

  assert {
    condition = alltrue([
      for metric in google_logging_metric.log : toset(metric.metric_descriptor[0].labels[*].key) == toset(keys(metric.label_extractors))
    ])
    error_message = "Every label has its extractor."
  }

  assert {
    condition = toset([
      for service in flatten([for metric in google_logging_metric.log : regexall("service_name=\"([a-z-]+)\"", metric.filter)]) : service
      ]) == toset([
      google_cloudfunctions2_function.maintain[0].name, google_cloudfunctions2_function.nightly[0].name,
    ])
    error_message = "Filters name functions as they are deployed."
  }

  assert {
    condition     = strcontains(google_logging_metric.log["audio_watch_files_published_total"].filter, "resource.labels.service_name=(\"${google_cloudfunctions2_function.maintain[0].name}\" OR \"${google_cloud_run_v2_service.notify[0].name}\")")
    error_message = "Both that publish are counted."
  }

  assert {
    condition = alltrue([
      for name in ["recordings-push", "sftp-files-push", "dead-letters-push"] :
      strcontains(google_monitoring_alert_policy.alert["oldest-unacked"].conditions[0].condition_prometheus_query_language[0].query, name)
    ])
    error_message = "Every push subscription is watched."
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.alert["webhook-5xx"].conditions[0].condition_prometheus_query_language[0].query, "service_name=\"notify\",response_code_class=\"5xx\"")
    error_message = "The webhook's own errors are watched."
  }

  assert {
    condition     = length(google_monitoring_alert_policy.alert["failure-rate"].notification_channels) == 0 && length(google_billing_budget.month) == 0
    error_message = "Only configured addresses are notified, and no budget is made without a billing account."
  }
}

run "dashboard" {
  command = apply

  assert {
    condition     = length(regexall(":(0|\"\"|\\[\\]|\\{\\}|null|false)[,}\\]]", google_monitoring_dashboard.overview.dashboard_json)) == 0
    error_message = "A zero, an empty value or null would be a difference in every plan."
  }

  assert {
    condition = alltrue([
      for y, row in local.dashboard_rows : sum(row.panels[*].width) == local.dashboard_columns
    ])
    error_message = "Every row is filled."
  }

  assert {
    condition = alltrue([
      for tile in jsondecode(google_monitoring_dashboard.overview.dashboard_json).mosaicLayout.tiles :
      toset(keys(tile.widget)) == toset(["title", "xyChart"]) || toset(keys(tile.widget)) == toset(["title", "logsPanel"]) || toset(keys(tile.widget)) == toset(["title", "incidentList"])
    ])
    error_message = "Every tile shows one thing."
  }

  assert {
    condition     = length(jsondecode(google_monitoring_dashboard.overview.dashboard_json).mosaicLayout.tiles) == 15
    error_message = "All panels are there."
  }
}

run "first_apply" {
  command = apply

  variables {
    image     = ""
    web_image = ""
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.alert["oldest-unacked"].conditions[0].condition_prometheus_query_language[0].query, "recordings-push")
    error_message = "The alerts are complete before what they watch exists."
  }
}

run "prod" {
  command = apply

  variables {
    environment           = "prod"
    protected             = false # else this run cannot clean up
    billing_account       = "012345-6789AB-CDEF01"
    budget_amount         = 200
    notification_channels = ["projects/my-project/notificationChannels/1"]
    notification_emails   = ["ann@example.com", "bob@example.com"]
    runbook_url           = "https://example.com/docs/operations.md"
    sftp_host             = "sftp.example.com"
    working_day = {
      days           = [0, 4]
      start_hour_utc = 23
      end_hour_utc   = 7
    }
  }

  assert {
    condition     = length(google_monitoring_alert_policy.alert) == 10 && alltrue([for alert in google_monitoring_alert_policy.alert : alert.enabled])
    error_message = "In prod every alert is on, and the nights are watched."
  }

  assert {
    condition = alltrue([
      for name, alert in google_monitoring_alert_policy.alert :
      length(alert.notification_channels) == 3 && strcontains(alert.documentation[0].content, "(https://example.com/docs/operations.md#alert-${name})")
    ])
    error_message = "Every alert notifies every configured address, with a link that opens."
  }

  assert {
    condition     = google_monitoring_alert_policy.alert["no-new-files"].conditions[0].condition_prometheus_query_language[0].query == "(sum(increase(logging_googleapis_com:user_audio_watch_files_published_total{monitored_resource=\"cloud_run_revision\"}[9h])) or vector(0)) < 0.5 and on() (hour() == 7) and on() (day_of_week() == 0 or day_of_week() == 4)"
    error_message = "A working day may go past midnight."
  }

  assert {
    condition     = one(google_billing_budget.month[0].budget_filter).projects == toset(["projects/123456789012"]) && one(one(google_billing_budget.month[0].amount).specified_amount).units == "200" && length(one(google_billing_budget.month[0].all_updates_rule).monitoring_notification_channels) == 3
    error_message = "The budget is this project's, by its number."
  }
}

run "a_schedule_that_is_not_daily" {
  command = apply

  variables {
    sftp_host        = "sftp.example.com"
    nightly_schedule = "0 2 * * 1-5"
  }

  assert {
    condition     = contains(keys(google_monitoring_alert_policy.alert), "nightly-failed") && !contains(keys(google_monitoring_alert_policy.alert), "nightly-missed")
    error_message = "A night without a run is not missed when it is not planned."
  }
}

run "wrong_values" {
  command = plan

  variables {
    backlog_minutes       = 1
    billing_account       = "billingAccounts/012345-6789AB-CDEF01"
    budget_amount         = 0
    failure_rate_percent  = 100
    notification_channels = ["42"]
    notification_emails   = ["nobody"]
    runbook_url           = "docs/operations.md#alerts"
    working_day           = { days = [7], start_hour_utc = 9, end_hour_utc = 9 }
  }

  expect_failures = [
    var.backlog_minutes, var.billing_account, var.budget_amount, var.failure_rate_percent,
    var.notification_channels, var.notification_emails, var.runbook_url, var.working_day,
  ]
}
