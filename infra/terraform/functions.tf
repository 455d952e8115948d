# The functions that Cloud Scheduler and Pub/Sub call, built by Google from an archive. Their names
# have no underscores: a function's Cloud Run service would have hyphens in their place.

locals {
  runtime = "python313"

  # The first apply has no image yet, since it creates the registry. What runs code comes with the
  # second apply, minutes after the grants that its builds need.
  deployed = var.image != "" && var.web_image != ""
  present  = local.deployed ? 1 : 0
}

resource "google_cloudfunctions2_function" "maintain" {
  count = local.present

  name         = "maintain"
  location     = var.region
  description  = "Renews Drive's channels, sweeps, and requeues interrupted work"
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
    max_instance_count               = 3 # a long sweep must not delay the requeue of each minute
    timeout_seconds                  = 1800
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"

    environment_variables = merge(local.env_function, local.env_maintain, {
      WEBHOOK_URL = google_cloud_run_v2_service.notify[0].uri
    })

    secret_environment_variables {
      key        = "CHANNEL_KEY"
      project_id = var.project_id
      secret     = google_secret_manager_secret.secret["channel-key"].secret_id
      version    = google_secret_manager_secret_version.channel_key.version
    }
  }

  depends_on = [
    google_secret_manager_secret_iam_member.channel_key,
    terraform_data.functions_ready,
  ]
}

resource "google_cloudfunctions2_function" "nightly" {
  count = local.present

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
    environment_variables            = merge(local.env_function, local.env_compress)
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
      secret     = google_secret_manager_secret.secret["sftp-credentials"].secret_id
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
  count = local.present

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
    available_cpu                    = "1" # docs/cost.md: an hour of audio in 20 s, for half the price of 2
    available_memory                 = "2Gi"
    max_instance_request_concurrency = 1
    max_instance_count               = var.compress_max_instances
    timeout_seconds                  = 600 # as long as Pub/Sub waits
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    environment_variables            = merge(local.env_function, local.env_compress, local.env_push["sftp-files"])
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
      secret     = google_secret_manager_secret.secret["sftp-credentials"].secret_id
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

# What every build of a function needs before it starts.
resource "terraform_data" "functions_ready" {
  depends_on = [
    google_artifact_registry_repository_iam_member.build_push,
    google_kms_crypto_key_iam_member.agent,
    google_project_iam_member.build_logs,
    google_project_iam_member.build_source,
    google_project_service.api,
  ]
}

resource "google_cloud_run_v2_service_iam_member" "scheduler" {
  for_each = merge(
    { for function in google_cloudfunctions2_function.maintain : "maintain" => function.name },
    { for function in google_cloudfunctions2_function.nightly : "nightly" => function.name },
  )

  location = var.region
  name     = each.value
  role     = "roles/run.invoker"
  member   = google_service_account.component["scheduler"].member
}

resource "google_cloud_run_v2_service_iam_member" "push" {
  for_each = merge(
    { for function in google_cloudfunctions2_function.compress : "compress" => function.name },
    { for service in google_cloud_run_v2_service.extract_audio : "extract" => service.name },
  )

  location = var.region
  name     = each.value
  role     = "roles/run.invoker"
  member   = google_service_account.component["push"].member
}
