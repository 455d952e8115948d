# Plans with the real providers' schemas and no cloud, and what each plan must contain.

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
  web_image   = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/web@sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
}

run "dev" {
  command = apply

  assert {
    condition     = google_cloud_run_v2_service.notify[0].invoker_iam_disabled && google_cloud_run_v2_service.notify[0].ingress == "INGRESS_TRAFFIC_ALL"
    error_message = "The webhook is public: Drive has no identity."
  }

  assert {
    condition     = google_cloud_run_v2_service.extract_audio[0].invoker_iam_disabled != true && google_cloud_run_v2_service.extract_audio[0].template[0].containers[0].image != google_cloud_run_v2_service.notify[0].template[0].containers[0].image
    error_message = "Nothing else is public, and the webhook's image is its own."
  }

  assert {
    condition = alltrue([
      for binding in concat(values(google_cloud_run_v2_service_iam_member.push), values(google_cloud_run_v2_service_iam_member.scheduler)) :
      endswith(binding.member, ".gserviceaccount.com")
    ])
    error_message = "Everything but the webhook is called by accounts of this project only."
  }

  # Cloud Run checks the caller; the workers check that it is our subscription.
  assert {
    condition = (
      { for one in google_cloud_run_v2_service.extract_audio[0].template[0].containers[0].env : one.name => one.value if startswith(one.name, "PUSH_A") } == {
        PUSH_ACCOUNT  = google_pubsub_subscription.push["recordings"].push_config[0].oidc_token[0].service_account_email
        PUSH_AUDIENCE = google_pubsub_subscription.push["recordings"].push_config[0].oidc_token[0].audience
      } &&
      google_pubsub_subscription.dead_letters[0].push_config[0].oidc_token[0].audience == google_pubsub_subscription.push["recordings"].push_config[0].oidc_token[0].audience &&
      google_cloudfunctions2_function.compress[0].service_config[0].environment_variables.PUSH_AUDIENCE == google_pubsub_subscription.push["sftp-files"].push_config[0].oidc_token[0].audience &&
      google_cloudfunctions2_function.compress[0].service_config[0].environment_variables.PUSH_ACCOUNT == google_pubsub_subscription.push["sftp-files"].push_config[0].oidc_token[0].service_account_email
    )
    error_message = "Workers accept the tokens of their own subscriptions, and no others."
  }

  assert {
    condition = (
      toset(keys(google_secret_manager_secret_iam_member.channel_key)) == toset(["maintain", "notify"]) &&
      google_secret_manager_secret_version.channel_key.secret_data == null && google_secret_manager_secret_version.channel_key.secret_data_wo == null &&
      one(google_cloudfunctions2_function.maintain[0].service_config[0].secret_environment_variables).key == "CHANNEL_KEY"
    )
    error_message = "notify and maintain share the key that signs channels, and no state contains it."
  }

  assert {
    condition     = length(google_cloud_run_v2_service.dashboard) == 0 && length(google_project_iam_member.console) == 0
    error_message = "Without members there is no dashboard."
  }

  # The quotas of a new project: 20 vCPU and 40 GiB in a region.
  assert {
    condition = (
      var.extract_max_instances * tonumber(google_cloud_run_v2_service.extract_audio[0].template[0].containers[0].resources[0].limits.cpu) <= 20 &&
      var.extract_max_instances * tonumber(trimsuffix(var.extract_memory, "Gi")) <= 40 &&
      google_cloudfunctions2_function.compress[0].service_config[0].max_instance_count * tonumber(google_cloudfunctions2_function.compress[0].service_config[0].available_cpu) <= 20
    )
    error_message = "The defaults fit into the quota of a new project."
  }

  assert {
    condition     = google_cloud_run_v2_service.notify[0].template[0].scaling[0].max_instance_count == 3
    error_message = "A flood of forged requests has a ceiling."
  }

  assert {
    condition = alltrue([
      for function in concat(google_cloudfunctions2_function.maintain, google_cloudfunctions2_function.nightly, google_cloudfunctions2_function.compress) :
      function.service_config[0].environment_variables.LOG_EXECUTION_ID == "false"
    ])
    error_message = "functions-framework adds no log handler of its own."
  }

  assert {
    condition     = length(google_artifact_registry_repository.images.docker_config) == 0 && length(google_artifact_registry_repository.images.cleanup_policies) == 2 && length(google_artifact_registry_repository.functions.cleanup_policies) == 2
    error_message = "Old images can be deleted, and are."
  }

  assert {
    condition     = google_service_account_iam_member.push_tokens.role == "roles/iam.serviceAccountOpenIdTokenCreator" && endswith(google_service_account_iam_member.push_tokens.member, "@gcp-sa-pubsub.iam.gserviceaccount.com")
    error_message = "Pub/Sub may sign the tokens of its pushes."
  }

  assert {
    condition = alltrue([
      for member in concat(
        values(google_cloud_run_v2_service_iam_member.scheduler)[*].member,
        values(google_cloud_run_v2_service_iam_member.push)[*].member,
        values(google_storage_bucket_iam_member.audio)[*].member,
        values(google_pubsub_topic_iam_member.publisher)[*].member,
        values(google_pubsub_topic_iam_member.results)[*].member,
        values(google_secret_manager_secret_iam_member.sftp_credentials)[*].member,
        google_cloud_run_v2_job_iam_member.extract[*].member,
      ) : startswith(member, "serviceAccount:")
    ])
    error_message = "Every grant is to a service account."
  }

  assert {
    condition = alltrue([
      for function in concat(google_cloudfunctions2_function.maintain, google_cloudfunctions2_function.nightly, google_cloudfunctions2_function.compress) :
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
    error_message = "Dead letters go to extract_audio."
  }

  assert {
    condition     = google_storage_bucket.audio.uniform_bucket_level_access && google_storage_bucket.audio.public_access_prevention == "enforced"
    error_message = "The bucket is private."
  }

  assert {
    condition     = google_secret_manager_secret_version.sftp_credentials.secret_data == null && google_secret_manager_secret_version.sftp_credentials.secret_data_wo == null
    error_message = "No state contains the secret's value."
  }

  assert {
    condition = (
      google_cloud_run_v2_service.notify[0].template[0].max_instance_request_concurrency == 80 &&
      google_cloud_run_v2_service.notify[0].template[0].containers[0].resources[0].limits.cpu == "1" &&
      one([for one in google_cloud_run_v2_service.notify[0].template[0].containers[0].env : one.value if one.name == "THREADS"]) == "80"
    )
    error_message = "A burst of notifications meets no 429, and slow ones block no others."
  }

  assert {
    condition = alltrue([
      for job in google_cloud_scheduler_job.trigger : job.attempt_deadline == "1800s" && job.http_target[0].http_method == "POST"
    ])
    error_message = "Schedulers wait as long as the functions run."
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
    error_message = "dev can be destroyed completely."
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
    error_message = "A grant on the project is limited to one database."
  }

  assert {
    condition = toset([for grant in google_pubsub_topic_iam_member.publisher : grant.role]) == toset(["roles/pubsub.publisher"]) && (
      toset(keys(google_pubsub_topic_iam_member.publisher)) == toset(["dashboard-recordings", "dashboard-sftp-files", "maintain-recordings", "maintain-sftp-files", "nightly-sftp-files", "notify-recordings"])
    )
    error_message = "maintain and dashboard publish on both topics, the others on theirs."
  }

  assert {
    condition     = toset(keys(google_pubsub_topic_iam_member.results)) == toset(["compress", "extract", "maintain"])
    error_message = "Only what ends recordings announces results."
  }
}

run "first_apply" {
  command = apply

  variables {
    image     = ""
    web_image = ""
  }

  assert {
    condition = length(concat(
      google_cloud_run_v2_service.extract_audio[*].id, google_cloud_run_v2_service.notify[*].id, google_cloud_run_v2_job.extract_audio[*].id,
      google_cloudfunctions2_function.maintain[*].id, google_cloudfunctions2_function.nightly[*].id, google_cloudfunctions2_function.compress[*].id,
      google_pubsub_subscription.dead_letters[*].id, values(google_pubsub_subscription.push)[*].id, values(google_cloud_scheduler_job.trigger)[*].id,
    )) == 0
    error_message = "What runs code comes with the images."
  }

  assert {
    condition     = strcontains(output.next_steps, "make deploy")
    error_message = "The output names the next step."
  }
}

run "builds" {
  command = apply

  assert {
    condition     = toset(keys(google_artifact_registry_repository_iam_member.build_push)) == toset(["functions", "images"])
    error_message = "Builds push the functions' images and our own."
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
    error_message = "prod logs reads."
  }
}

run "everything_on" {
  command = apply

  variables {
    audit_data_access  = true
    autoclass          = true
    backfill_since     = "2025-01-01"
    bucket_versioning  = true
    dashboard_members  = ["group:dashboard@example.com"]
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
    viewers            = ["group:viewers@example.com"]
  }

  assert {
    condition     = google_cloud_run_v2_service.dashboard[0].iap_enabled && google_cloud_run_v2_service_iam_member.iap[0].member == "serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com"
    error_message = "The dashboard is behind IAP, which may call it."
  }

  assert {
    condition     = toset(keys(google_iap_web_cloud_run_service_iam_member.dashboard)) == toset(["group:dashboard@example.com"]) && toset(keys(google_storage_bucket_iam_member.viewer)) == toset(["group:dashboard@example.com", "group:viewers@example.com"]) && length(google_project_iam_member.console) == 4
    error_message = "Members use the dashboard; they and the viewers browse the bucket."
  }

  assert {
    condition     = one([for one in google_cloud_run_v2_service.dashboard[0].template[0].containers[0].env : one.value if one.name == "IAP_AUDIENCE"]) == "/projects/123456789012/locations/europe-west1/services/dashboard"
    error_message = "The dashboard verifies IAP's header."
  }

  assert {
    condition     = contains(google_cloud_run_v2_service.extract_audio[0].template[0].volumes[0].gcs[0].mount_options, "uid=10001") && contains(google_cloud_run_v2_job.extract_audio[0].template[0].template[0].volumes[0].gcs[0].mount_options, "uid=10001")
    error_message = "The image's user may write to the mount."
  }

  # The bucket of the functions' source has a hash behind its name when there is a key.
  assert {
    condition     = strcontains(google_project_iam_member.build_source.condition[0].expression, "startsWith(\"projects/_/buckets/gcf-v2-sources-123456789012-europe-west1\")")
    error_message = "Builds read the bucket that Cloud Functions creates."
  }

  assert {
    condition     = google_cloudfunctions2_function.compress[0].service_config[0].direct_vpc_egress == "VPC_EGRESS_ALL_TRAFFIC" && length(google_compute_router_nat.egress) == 1
    error_message = "SFTP goes by the fixed address."
  }

  assert {
    condition     = google_storage_bucket.audio.encryption[0].default_kms_key_name == var.kms_key_name && alltrue([for topic in google_pubsub_topic.topic : topic.kms_key_name == var.kms_key_name]) && length(google_kms_crypto_key_iam_member.agent) == 7
    error_message = "The key encrypts, and its users have a grant."
  }

  assert {
    condition     = !google_cloud_scheduler_job.trigger["nightly"].paused && google_cloud_scheduler_job.trigger["nightly"].time_zone == "Europe/Berlin"
    error_message = "The schedule has its own time zone."
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
    dashboard_members = ["everybody"]
    environment       = "production"
    image             = "europe-west1-docker.pkg.dev/my-project/audio-pipeline/extract-audio:latest"
    project_id        = "My Project"
    region            = "europe-west1-b"
    sftp_host         = "sftp://example.com"
    viewers           = ["allUsers"]
  }

  expect_failures = [var.dashboard_members, var.environment, var.image, var.project_id, var.region, var.sftp_host, var.viewers]
}

run "one_image_without_the_other" {
  command = plan

  variables {
    web_image = ""
  }

  expect_failures = [var.web_image]
}
