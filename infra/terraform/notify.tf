# The webhook that Drive calls, the one public service. A service and not a function: only a service
# can turn off Cloud Run's check of the caller, which works where the organisation policy forbids a
# grant to allUsers (domain restricted sharing, the default of new organisations).
# Source: "Disable the Cloud Run Invoker IAM check", cloud.google.com/run/docs/securing/managing-access

locals {
  # Requests that one instance takes at a time. A burst must not meet 429, which Drive does not
  # retry.
  webhook_concurrency = 80
}

resource "google_cloud_run_v2_service" "notify" {
  count = local.present

  name                 = "notify"
  location             = var.region
  description          = "Receives Drive's notifications and publishes new recordings"
  ingress              = "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true  # Drive has no identity; each channel has a signed token
  deletion_protection  = false # guard.tf protects, and fails before anything is deleted

  template {
    service_account                  = google_service_account.component["notify"].email
    timeout                          = "120s"
    max_instance_request_concurrency = local.webhook_concurrency
    encryption_key                   = var.kms_key_name == "" ? null : var.kms_key_name

    # A ceiling on what a flood of forged requests can cost.
    scaling {
      max_instance_count = 3
    }

    containers {
      image   = var.web_image
      command = ["functions-framework"]
      args    = ["--source=functions/drive_watch/main.py", "--target=notify"]

      resources {
        limits = {
          cpu    = "1"
          memory = "512Mi"
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      ports {
        container_port = 8080
      }

      dynamic "env" {
        # Without THREADS, functions-framework has 4 threads a CPU, and 4 slow clients block it.
        for_each = merge(local.env_notify, { THREADS = tostring(local.webhook_concurrency) })

        content {
          name  = env.key
          value = env.value
        }
      }

      env {
        name = "CHANNEL_KEY"

        value_source {
          secret_key_ref {
            secret  = google_secret_manager_secret.secret["channel-key"].secret_id
            version = google_secret_manager_secret_version.channel_key.version
          }
        }
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 30

        tcp_socket {
          port = 8080
        }
      }
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.tracker,
    google_project_service.api["run.googleapis.com"],
    google_pubsub_topic_iam_member.publisher,
    google_secret_manager_secret_iam_member.channel_key,
    google_service_account_iam_member.read_drive,
  ]
}
