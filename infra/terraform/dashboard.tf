# The dashboard, behind Identity-Aware Proxy: only the dashboard_members sign in, and the service
# verifies IAP's signed header again. It exists only if dashboard_members is set, since IAP needs a
# project in an organisation.
# Source: "Configure IAP for Cloud Run", cloud.google.com/run/docs/securing/identity-aware-proxy-cloud-run

locals {
  dashboard_present = local.deployed && length(var.dashboard_members) > 0 ? 1 : 0

  # Creates it: `gcloud beta services identity create --service=iap.googleapis.com`.
  iap_agent = "serviceAccount:service-${local.project_number}@gcp-sa-iap.iam.gserviceaccount.com"
}

resource "google_cloud_run_v2_service" "dashboard" {
  count = local.dashboard_present

  name                = "dashboard"
  location            = var.region
  description         = "Recordings, failures and search, for people"
  ingress             = "INGRESS_TRAFFIC_ALL"
  iap_enabled         = true
  deletion_protection = false # guard.tf protects, and fails before anything is deleted

  template {
    service_account                  = google_service_account.component["dashboard"].email
    timeout                          = "300s"
    max_instance_request_concurrency = 40
    encryption_key                   = var.kms_key_name == "" ? null : var.kms_key_name

    scaling {
      max_instance_count = 2
    }

    containers {
      image   = var.web_image
      command = ["functions-framework"]
      args    = ["--source=functions/dashboard/main.py", "--target=dashboard"]

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
        for_each = merge(local.env_dashboard, {
          # Source: "Securing your app with signed headers", the audience of Cloud Run,
          # cloud.google.com/iap/docs/signed-headers-howto
          IAP_AUDIENCE = "/projects/${local.project_number}/locations/${var.region}/services/dashboard"
          THREADS      = "40" # as many as requests; an open event stream keeps one busy
        })

        content {
          name  = env.key
          value = env.value
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
    google_project_service.api["iap.googleapis.com"],
    google_project_service.api["run.googleapis.com"],
    google_pubsub_topic_iam_member.publisher,
    google_storage_bucket_iam_member.dashboard,
  ]
}

# IAP forwards the requests that it allows as its own service agent.
resource "google_cloud_run_v2_service_iam_member" "iap" {
  count = local.dashboard_present

  location = var.region
  name     = google_cloud_run_v2_service.dashboard[0].name
  role     = "roles/run.invoker"
  member   = local.iap_agent
}

resource "google_iap_web_cloud_run_service_iam_member" "dashboard" {
  for_each = local.dashboard_present == 1 ? var.dashboard_members : []

  location               = var.region
  cloud_run_service_name = google_cloud_run_v2_service.dashboard[0].name
  role                   = "roles/iap.httpsResourceAccessor"
  member                 = each.key
}

# It signs the links to audio as itself, without a key.
resource "google_service_account_iam_member" "dashboard_signs" {
  service_account_id = google_service_account.component["dashboard"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.component["dashboard"].member

  depends_on = [google_project_service.api["iamcredentials.googleapis.com"]]
}
