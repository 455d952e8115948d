# The service that Pub/Sub pushes to, and the job for recordings that outlast a push. Both run one
# image, by digest.

locals {
  # The mount belongs to root by default, and the image runs as this user.
  # Cloud Run takes gcsfuse's options as key=value, without dashes.
  # Source: "Mount options", cloud.google.com/run/docs/configuring/services/cloud-storage-volume-mounts
  mount_options = ["uid=10001", "gid=10001", "file-mode=640", "dir-mode=750", "implicit-dirs"]
}

resource "google_cloud_run_v2_service" "extract_audio" {
  count = local.present

  name                = "extract-audio"
  location            = var.region
  description         = "Extracts the audio of recordings"
  ingress             = "INGRESS_TRAFFIC_ALL" # IAM decides who may call it
  deletion_protection = false                 # guard.tf protects, and fails before anything is deleted

  template {
    service_account                  = google_service_account.component["extract"].email
    timeout                          = "600s" # as long as Pub/Sub waits
    max_instance_request_concurrency = 1
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    encryption_key                   = var.kms_key_name == "" ? null : var.kms_key_name

    scaling {
      max_instance_count = var.extract_max_instances
    }

    containers {
      image = var.image

      resources {
        limits = {
          cpu    = "1" # docs/cost.md: as fast as 2, since an hour waits for its download
          memory = var.extract_memory
        }
        cpu_idle          = true
        startup_cpu_boost = true
      }

      ports {
        container_port = 8080
      }

      dynamic "env" {
        for_each = merge(local.env_extract, local.env_push["recordings"], {
          EXTRACT_JOB        = google_cloud_run_v2_job.extract_audio[0].id
          PUSH_LIMIT_SECONDS = tostring(var.push_limit_seconds)
        })

        content {
          name  = env.key
          value = env.value
        }
      }

      # /live has no dependencies, so a grant that is not effective yet does not fail a first deploy.
      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 30

        http_get {
          path = "/live"
        }
      }

      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 3

        http_get {
          path = "/live"
        }
      }

      dynamic "volume_mounts" {
        for_each = var.mount_bucket ? ["audio"] : []

        content {
          name       = volume_mounts.value
          mount_path = local.mount_path
        }
      }
    }

    dynamic "volumes" {
      for_each = var.mount_bucket ? ["audio"] : []

      content {
        name = volumes.value

        gcs {
          bucket        = google_storage_bucket.audio.name
          read_only     = false
          mount_options = local.mount_options
        }
      }
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.tracker,
    google_project_service.api["run.googleapis.com"],
    google_storage_bucket_iam_member.audio,
  ]
}

resource "google_cloud_run_v2_job" "extract_audio" {
  count = local.present

  name                = "extract-audio"
  location            = var.region
  deletion_protection = false

  template {
    task_count = 1

    template {
      service_account       = google_service_account.component["extract"].email
      timeout               = "43200s"
      max_retries           = 1
      execution_environment = "EXECUTION_ENVIRONMENT_GEN2"
      encryption_key        = var.kms_key_name == "" ? null : var.kms_key_name

      containers {
        image   = var.image
        command = ["python", "-m", "functions.extract_audio.job"]

        resources {
          limits = {
            cpu    = "1"
            memory = var.extract_memory
          }
        }

        dynamic "env" {
          for_each = local.env_extract

          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "volume_mounts" {
          for_each = var.mount_bucket ? ["audio"] : []

          content {
            name       = volume_mounts.value
            mount_path = local.mount_path
          }
        }
      }

      dynamic "volumes" {
        for_each = var.mount_bucket ? ["audio"] : []

        content {
          name = volumes.value

          gcs {
            bucket        = google_storage_bucket.audio.name
            read_only     = false
            mount_options = local.mount_options
          }
        }
      }
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.tracker,
    google_project_service.api["run.googleapis.com"],
    google_storage_bucket_iam_member.audio,
  ]
}

# With overrides, since each execution gets the key of its recording.
resource "google_cloud_run_v2_job_iam_member" "extract" {
  count = local.present

  location = var.region
  name     = google_cloud_run_v2_job.extract_audio[0].name
  role     = "roles/run.jobsExecutorWithOverrides"
  member   = google_service_account.component["extract"].member
}
