locals {
  schedules = {
    maintain = {
      description = "Renew Drive's channels and sweep"
      schedule    = "*/15 * * * *"
      time_zone   = "Etc/UTC"
      uri         = one(google_cloudfunctions2_function.maintain[*].service_config[0].uri)
      body        = "{}"
      paused      = false
    }
    nightly = {
      description = "Compress new files on the SFTP server"
      schedule    = var.nightly_schedule
      time_zone   = var.time_zone
      uri         = one(google_cloudfunctions2_function.nightly[*].service_config[0].uri)
      body        = "{}"
      paused      = var.sftp_host == ""
    }
    requeue = {
      description = "Requeue interrupted work"
      schedule    = "* * * * *"
      time_zone   = "Etc/UTC"
      uri         = one(google_cloudfunctions2_function.maintain[*].service_config[0].uri)
      body        = jsonencode({ only = "requeue" })
      paused      = false
    }
  }
}

resource "google_cloud_scheduler_job" "trigger" {
  for_each = { for name, schedule in local.schedules : name => schedule if local.deployed }

  name             = each.key
  region           = var.region
  description      = each.value.description
  schedule         = each.value.schedule
  time_zone        = each.value.time_zone
  paused           = each.value.paused
  attempt_deadline = "1800s"

  http_target {
    http_method = "POST" # otherwise the next plan is not empty
    uri         = "${each.value.uri}/"
    body        = base64encode(each.value.body)
    headers     = { "Content-Type" = "application/json" }

    oidc_token {
      service_account_email = google_service_account.component["scheduler"].email
      audience              = each.value.uri
    }
  }

  retry_config {
    retry_count          = each.key == "nightly" ? 3 : 0 # the others run again soon anyway
    min_backoff_duration = "60s"
    max_backoff_duration = "600s"
    max_doublings        = 3
    max_retry_duration   = "0s"
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.scheduler,
    google_project_service.api["cloudscheduler.googleapis.com"],
  ]
}
