# Plans with the real providers' schemas and no cloud: what matters must hold in each.

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
      uri = "https://extract-audio-abc-ew.a.run.app"
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

  mock_resource "google_compute_subnetwork" {
    defaults = {
      id = "projects/my-project/regions/europe-west1/subnetworks/audio-pipeline-egress"
    }
  }
}

variables {
  project_id  = "my-project"
  region      = "europe-west1"
  environment = "dev"
  image       = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/extract-audio@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}

run "dev" {
  command = apply

  assert {
    condition     = google_cloud_run_v2_service_iam_member.public.name == "notify" && google_cloud_run_v2_service_iam_member.public.member == "allUsers"
    error_message = "The webhook is public: Drive has no identity."
  }

  assert {
    condition = alltrue([
      for member in concat(
        values(google_cloud_run_v2_service_iam_member.scheduler)[*].member,
        values(google_cloud_run_v2_service_iam_member.push)[*].member,
        values(google_storage_bucket_iam_member.audio)[*].member,
        values(google_pubsub_topic_iam_member.publisher)[*].member,
        values(google_secret_manager_secret_iam_member.sftp_credentials)[*].member,
        google_cloud_run_v2_job_iam_member.extract[*].member,
      ) : startswith(member, "serviceAccount:")
    ])
    error_message = "Nothing but the webhook is for everybody."
  }

  assert {
    condition = alltrue([
      for function in [google_cloudfunctions2_function.maintain, google_cloudfunctions2_function.nightly, google_cloudfunctions2_function.compress] :
      function.service_config[0].ingress_settings == "ALLOW_INTERNAL_ONLY"
    ])
    error_message = "Only Google's own services reach the other functions."
  }

  assert {
    condition = alltrue([
      for push in concat(values(google_pubsub_subscription.push), google_pubsub_subscription.dead_letters) :
      push.push_config[0].oidc_token[0].service_account_email != "" && push.push_config[0].oidc_token[0].audience != "" && push.expiration_policy[0].ttl == "" && push.ack_deadline_seconds == 600
    ])
    error_message = "Every push has an identity, and no subscription ends by itself."
  }

  assert {
    condition = length(google_pubsub_subscription.push) == 2 && alltrue([
      for push in google_pubsub_subscription.push : push.dead_letter_policy[0].max_delivery_attempts == 100
    ])
    error_message = "Both queues have dead letters after 100 deliveries."
  }

  assert {
    condition     = endswith(google_pubsub_subscription.dead_letters[0].push_config[0].push_endpoint, "/dead-letter")
    error_message = "Dead letters are told to extract_audio."
  }

  assert {
    condition     = google_storage_bucket.audio.uniform_bucket_level_access && google_storage_bucket.audio.public_access_prevention == "enforced"
    error_message = "The bucket is private."
  }

  assert {
    condition     = google_secret_manager_secret_version.sftp_credentials.secret_data == null && google_secret_manager_secret_version.sftp_credentials.secret_data_wo == null
    error_message = "The secret's value is in no state."
  }

  assert {
    condition     = google_cloudfunctions2_function.notify.service_config[0].max_instance_request_concurrency == 80 && google_cloudfunctions2_function.notify.service_config[0].available_cpu == "1"
    error_message = "A burst of notifications meets no 429."
  }

  assert {
    condition = alltrue([
      for job in google_cloud_scheduler_job.trigger : job.attempt_deadline == "1800s" && job.http_target[0].http_method == "POST"
    ])
    error_message = "Schedulers wait as long as the functions work."
  }

  assert {
    condition     = google_cloud_scheduler_job.trigger["nightly"].paused && google_cloud_scheduler_job.trigger["nightly"].schedule == "0 2 * * *"
    error_message = "Without an SFTP server the night is quiet."
  }

  assert {
    condition     = google_cloud_run_v2_job.extract_audio[0].template[0].template[0].timeout == "43200s" && google_cloud_run_v2_job_iam_member.extract[0].role == "roles/run.jobsExecutorWithOverrides"
    error_message = "The job has 12 hours, and extract_audio may start it."
  }

  assert {
    condition     = length(terraform_data.guard) == 0 && google_firestore_database.tracker.deletion_policy == "DELETE"
    error_message = "dev can be destroyed whole."
  }

  assert {
    condition     = google_firestore_field.channel_expiry.collection == "drive_channels"
    error_message = "Only channels expire: the audit needs every recording."
  }
}

run "roles" {
  command = apply

  assert {
    condition = length(setintersection(
      toset(concat(
        values(google_project_iam_member.tracker)[*].role,
        [google_project_iam_member.build_logs.role, google_project_iam_member.build_source.role],
        values(google_storage_bucket_iam_member.audio)[*].role,
      )),
      ["roles/owner", "roles/editor", "roles/viewer", "roles/storage.admin", "roles/pubsub.admin", "roles/datastore.owner", "roles/run.admin"],
    )) == 0
    error_message = "No primitive role, and no administrator."
  }

  assert {
    condition = alltrue([
      for grant in google_project_iam_member.tracker : length(grant.condition) == 1
    ])
    error_message = "A grant on the project holds for one database alone."
  }

  assert {
    condition = toset([for grant in google_pubsub_topic_iam_member.publisher : grant.role]) == toset(["roles/pubsub.publisher"]) && (
      toset(keys(google_pubsub_topic_iam_member.publisher)) == toset(["maintain-recordings", "maintain-sftp-files", "nightly-sftp-files", "notify-recordings"])
    )
    error_message = "maintain publishes on both topics, the others on theirs."
  }
}

run "first_apply" {
  command = apply

  variables {
    image = ""
  }

  assert {
    condition     = length(google_cloud_run_v2_service.extract_audio) == 0 && length(google_cloud_run_v2_job.extract_audio) == 0 && length(google_pubsub_subscription.dead_letters) == 0
    error_message = "Nothing waits for an image that its registry cannot have yet."
  }

  assert {
    condition     = strcontains(output.next_steps, "make deploy")
    error_message = "The output says what to do next."
  }
}

run "builds" {
  command = apply

  assert {
    condition     = toset(keys(google_artifact_registry_repository_iam_member.build_push)) == toset(["functions", "images"])
    error_message = "Builds push the functions' images and extract_audio's."
  }
}

run "prod" {
  command = plan

  variables {
    environment       = "prod"
    audit_data_access = true
    bucket_versioning = true
    soft_delete_days  = 30
  }

  assert {
    condition     = length(terraform_data.guard) == 1 && !google_storage_bucket.audio.force_destroy && google_firestore_database.tracker.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "prod is protected."
  }

  assert {
    condition     = length(google_project_iam_audit_config.data_access) == 3
    error_message = "prod logs who reads."
  }
}

run "everything_on" {
  command = apply

  variables {
    audit_data_access  = true
    autoclass          = true
    backfill_since     = "2025-01-01"
    bucket_versioning  = true
    drive_folder_ids   = ["1a2B3c4D5e6F7g8H9i0J"]
    drive_ids          = ["0AbCdEfGhIjKlUk9PVA"]
    drive_subjects     = ["ann@example.com", "bob@example.com"]
    firestore_location = "eur3"
    kms_key_name       = "projects/my-project/locations/europe-west1/keyRings/ring/cryptoKeys/key"
    mount_bucket       = true
    sftp_host          = "sftp.example.com"
    sftp_mirror_path   = "/compressed"
    static_egress_ip   = true
    time_zone          = "Europe/Berlin"
  }

  assert {
    condition     = google_cloudfunctions2_function.compress.service_config[0].direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC" && length(google_compute_router_nat.egress) == 1
    error_message = "SFTP goes by the fixed address."
  }

  assert {
    condition     = google_storage_bucket.audio.encryption[0].default_kms_key_name == var.kms_key_name && alltrue([for topic in google_pubsub_topic.queue : topic.kms_key_name == var.kms_key_name]) && length(google_kms_crypto_key_iam_member.agent) == 7
    error_message = "The key encrypts, and those who use it may."
  }

  assert {
    condition     = !google_cloud_scheduler_job.trigger["nightly"].paused && google_cloud_scheduler_job.trigger["nightly"].time_zone == "Europe/Berlin"
    error_message = "The night comes in its own time zone."
  }

  assert {
    condition     = contains(flatten(google_cloud_run_v2_service.extract_audio[0].template[0].containers[0].env[*].value), "/mnt/audio")
    error_message = "The bucket is a directory."
  }

  assert {
    condition     = length([for rule in google_storage_bucket.audio.lifecycle_rule : rule if one(rule.action).type == "SetStorageClass"]) == 0
    error_message = "Autoclass and ages exclude each other."
  }
}

run "wrong_values" {
  command = plan

  variables {
    project_id  = "My Project"
    region      = "europe-west1-b"
    environment = "production"
    image       = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/extract-audio:latest"
    sftp_host   = "sftp://example.com"
  }

  expect_failures = [var.project_id, var.region, var.environment, var.image, var.sftp_host]
}
