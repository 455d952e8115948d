locals {
  queues = toset(["recordings", "sftp-files"])

  # Who calls Pub/Sub's service agent by its name; it exists once
  # `gcloud beta services identity create --service=pubsub.googleapis.com` has run.
  pubsub_agent = "serviceAccount:service-${local.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  # extract_audio is there once its image is.
  pushes = merge(
    { "sftp-files" = google_cloudfunctions2_function.compress.service_config[0].uri },
    { for service in google_cloud_run_v2_service.extract_audio : "recordings" => service.uri },
  )
}

resource "google_pubsub_topic" "queue" {
  for_each = local.queues

  name         = each.key
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["pubsub.googleapis.com"],
  ]
}

resource "google_pubsub_topic" "dead_letters" {
  name         = "dead-letters"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["pubsub.googleapis.com"],
  ]
}

resource "google_pubsub_subscription" "push" {
  for_each = toset(var.image == "" ? ["sftp-files"] : ["recordings", "sftp-files"])

  name                       = "${each.key}-push"
  topic                      = google_pubsub_topic.queue[each.key].id
  ack_deadline_seconds       = 600
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = "${local.pushes[each.key]}/"

    oidc_token {
      service_account_email = google_service_account.component["push"].email
      audience              = local.pushes[each.key]
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # The most there is: an answer of 429 for want of a free instance counts as a delivery.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.dead_letters.id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = "" # never, however quiet a month is
  }

  depends_on = [google_cloud_run_v2_service_iam_member.push]
}

resource "google_pubsub_subscription" "dead_letters" {
  count = length(google_cloud_run_v2_service.extract_audio)

  name                       = "dead-letters-push"
  topic                      = google_pubsub_topic.dead_letters.id
  ack_deadline_seconds       = 600
  message_retention_duration = "2678400s" # 31 days: there is nowhere else to go

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.extract_audio[0].uri}/dead-letter"

    oidc_token {
      service_account_email = google_service_account.component["push"].email
      audience              = google_cloud_run_v2_service.extract_audio[0].uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [google_cloud_run_v2_service_iam_member.push]
}

# Dead-lettering is done by Pub/Sub's own account: it publishes, and acknowledges what it moved.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.dead_letters.id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = google_pubsub_subscription.push

  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# notify finds recordings, nightly files; maintain requeues both.
resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = {
    maintain-recordings = ["maintain", "recordings"]
    maintain-sftp-files = ["maintain", "sftp-files"]
    nightly-sftp-files  = ["nightly", "sftp-files"]
    notify-recordings   = ["notify", "recordings"]
  }

  topic  = google_pubsub_topic.queue[each.value[1]].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.component[each.value[0]].member
}

# /health asks whether the queue is there, which a publisher may not.
resource "google_pubsub_topic_iam_member" "viewer" {
  topic  = google_pubsub_topic.queue["recordings"].id
  role   = "roles/pubsub.viewer"
  member = google_service_account.component["extract"].member
}
