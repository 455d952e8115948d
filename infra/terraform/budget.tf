resource "google_billing_budget" "month" {
  count = var.billing_account == "" ? 0 : 1

  billing_account = var.billing_account
  display_name    = "audio-pipeline ${var.environment} (${var.project_id})"

  budget_filter {
    # By its number: the API gives that back, and an id would be a difference in every plan.
    projects = ["projects/${local.project_number}"]
  }

  amount {
    specified_amount {
      units = tostring(var.budget_amount)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1]

    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1
    spend_basis       = "FORECASTED_SPEND"
  }

  # Besides the billing account's administrators, who are notified in any case.
  dynamic "all_updates_rule" {
    for_each = length(local.all_notification_channels) == 0 ? [] : [1]

    content {
      monitoring_notification_channels = slice(local.all_notification_channels, 0, min(5, length(local.all_notification_channels)))
    }
  }

  depends_on = [google_project_service.api["billingbudgets.googleapis.com"]]
}
