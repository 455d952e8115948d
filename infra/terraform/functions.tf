# Names without underscores: the Cloud Run service of a function has its name, but with hyphens.

locals {
  runtime = "python313"
}

# The webhook that Drive calls: the one public service. A burst must not meet 429, which Drive
# does not send again, so that one instance takes 80 at a time, for which it needs a whole vCPU.
resource "google_cloudfunctions2_function" "notify" {
  # checkov:skip=CKV_GCP_124: Drive calls from outside, without an identity; each channel's token is what it is known by
  name         = "notify"
  location     = var.region
  description  = "Receives Drive's notifications and publishes new recordings"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  build_config {
    runtime           = local.runtime
    entry_point       = "notify"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.component["build"].id

    source {
      storage_source {
        bucket = google_storage_bucket.functions_source.name
        object = google_storage_bucket_object.function["drive_watch"].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.component["notify"].email
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    max_instance_request_concurrency = 80
    max_instance_count               = 10
    timeout_seconds                  = 120
    ingress_settings                 = "ALLOW_ALL"
    environment_variables            = local.env_notify
  }

  depends_on = [terraform_data.functions_ready]
}

resource "google_cloudfunctions2_function" "maintain" {
  name         = "maintain"
  location     = var.region
  description  = "Renews Drive's channels, sweeps, and requeues what was interrupted"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  build_config {
    runtime           = local.runtime
    entry_point       = "maintain"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.component["build"].id

    source {
      storage_source {
        bucket = google_storage_bucket.functions_source.name
        object = google_storage_bucket_object.function["drive_watch"].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.component["maintain"].email
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    max_instance_request_concurrency = 1
    max_instance_count               = 3 # a long sweep must not hold up the requeue of each minute
    timeout_seconds                  = 1800
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"

    environment_variables = merge(local.env_maintain, {
      WEBHOOK_URL = google_cloudfunctions2_function.notify.service_config[0].uri
    })
  }

  depends_on = [terraform_data.functions_ready]
}

resource "google_cloudfunctions2_function" "nightly" {
  name         = "nightly"
  location     = var.region
  description  = "Lists the SFTP server and publishes what is new"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  build_config {
    runtime           = local.runtime
    entry_point       = "nightly"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.component["build"].id

    source {
      storage_source {
        bucket = google_storage_bucket.functions_source.name
        object = google_storage_bucket_object.function["sftp_compress"].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.component["nightly"].email
    available_cpu                    = "1"
    available_memory                 = "512Mi"
    max_instance_request_concurrency = 1
    max_instance_count               = 1
    timeout_seconds                  = 1800
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    environment_variables            = local.env_compress
    direct_vpc_egress                = local.uses_vpc ? "VPC_EGRESS_ALL_TRAFFIC" : null

    dynamic "direct_vpc_network_interface" {
      for_each = local.uses_vpc ? [local.egress_subnetwork] : []

      content {
        subnetwork = direct_vpc_network_interface.value
      }
    }

    secret_environment_variables {
      key        = "SFTP_CREDENTIALS"
      project_id = var.project_id
      secret     = google_secret_manager_secret.sftp_credentials.secret_id
      version    = "latest"
    }
  }

  depends_on = [
    google_compute_router_nat.egress,
    google_secret_manager_secret_iam_member.sftp_credentials,
    google_secret_manager_secret_version.sftp_credentials,
    terraform_data.functions_ready,
  ]
}

resource "google_cloudfunctions2_function" "compress" {
  name         = "compress"
  location     = var.region
  description  = "Compresses one file of the SFTP server into the bucket"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  build_config {
    runtime           = local.runtime
    entry_point       = "compress"
    docker_repository = google_artifact_registry_repository.functions.id
    service_account   = google_service_account.component["build"].id

    source {
      storage_source {
        bucket = google_storage_bucket.functions_source.name
        object = google_storage_bucket_object.function["sftp_compress"].name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.component["compress"].email
    available_cpu                    = "2"
    available_memory                 = "2Gi"
    max_instance_request_concurrency = 1
    max_instance_count               = var.compress_max_instances
    timeout_seconds                  = 600 # as long as Pub/Sub waits
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    environment_variables            = local.env_compress
    direct_vpc_egress                = local.uses_vpc ? "VPC_EGRESS_ALL_TRAFFIC" : null

    dynamic "direct_vpc_network_interface" {
      for_each = local.uses_vpc ? [local.egress_subnetwork] : []

      content {
        subnetwork = direct_vpc_network_interface.value
      }
    }

    secret_environment_variables {
      key        = "SFTP_CREDENTIALS"
      project_id = var.project_id
      secret     = google_secret_manager_secret.sftp_credentials.secret_id
      version    = "latest"
    }
  }

  depends_on = [
    google_compute_router_nat.egress,
    google_secret_manager_secret_iam_member.sftp_credentials,
    google_secret_manager_secret_version.sftp_credentials,
    terraform_data.functions_ready,
  ]
}

# What every build of a function needs before it begins.
resource "terraform_data" "functions_ready" {
  depends_on = [
    google_artifact_registry_repository_iam_member.build_push,
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_source,
    google_project_service.api,
  ]
}

# Drive calls without any identity: the channel's token is what it is known by.
resource "google_cloud_run_v2_service_iam_member" "public" {
  location = var.region
  name     = google_cloudfunctions2_function.notify.name
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  for_each = {
    maintain = google_cloudfunctions2_function.maintain.name
    nightly  = google_cloudfunctions2_function.nightly.name
  }

  location = var.region
  name     = each.value
  role     = "roles/run.invoker"
  member   = google_service_account.component["scheduler"].member
}

resource "google_cloud_run_v2_service_iam_member" "push" {
  for_each = merge(
    { compress = google_cloudfunctions2_function.compress.name },
    { for service in google_cloud_run_v2_service.extract_audio : "extract" => service.name },
  )

  location = var.region
  name     = each.value
  role     = "roles/run.invoker"
  member   = google_service_account.component["push"].member
}
