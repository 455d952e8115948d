locals {
  queues = toset(["recordings", "sftp-files"])

  # Creates it: `gcloud beta services identity create --service=pubsub.googleapis.com`.
  pubsub_agent = "serviceAccount:service-${local.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  # Queue to the address of its worker.
  pushes = merge(
    { for function in google_cloudfunctions2_function.compress : "sftp-files" => function.service_config[0].uri },
    { for service in google_cloud_run_v2_service.extract_audio : "recordings" => service.uri },
  )

  # The audience of each queue's tokens: the address that Cloud Run derives from the service's name.
  # It is known before the service exists, which needs it as PUSH_AUDIENCE, and Cloud Run accepts it
  # like the address in `uri`.
  # Source: "Deterministic URL", cloud.google.com/run/docs/triggering/https-request
  push_audiences = {
    for queue, service in { recordings = "extract-audio", sftp-files = "compress" } :
    queue => "https://${service}-${local.project_number}.${var.region}.run.app"
  }

  # The workers check the tokens themselves, besides Cloud Run: an account that may call them is not
  # therefore our Pub/Sub.
  env_push = {
    for queue, audience in local.push_audiences : queue => {
      PUSH_ACCOUNT  = google_service_account.component["push"].email
      PUSH_AUDIENCE = audience
    }
  }
}

# The queues, what they could not deliver, and the ends of recordings (results.tf).
resource "google_pubsub_topic" "topic" {
  for_each = setunion(local.queues, ["dead-letters", "results"])

  name         = each.key
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["pubsub.googleapis.com"],
  ]
}

moved {
  from = google_pubsub_topic.queue
  to   = google_pubsub_topic.topic
}

moved {
  from = google_pubsub_topic.dead_letters
  to   = google_pubsub_topic.topic["dead-letters"]
}

moved {
  from = google_pubsub_topic.results
  to   = google_pubsub_topic.topic["results"]
}

resource "google_pubsub_subscription" "push" {
  for_each = local.deployed ? local.queues : []

  name                       = "${each.key}-push"
  topic                      = google_pubsub_topic.topic[each.key].id
  ack_deadline_seconds       = 600
  message_retention_duration = "604800s"

  push_config {
    push_endpoint = "${local.pushes[each.key]}/"

    oidc_token {
      service_account_email = google_service_account.component["push"].email
      audience              = local.push_audiences[each.key]
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # The maximum, since a 429 for lack of a free instance counts as a delivery.
  dead_letter_policy {
    dead_letter_topic     = google_pubsub_topic.topic["dead-letters"].id
    max_delivery_attempts = 100
  }

  expiration_policy {
    ttl = "" # never, however quiet a month is
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.push,
    google_service_account_iam_member.push_tokens,
  ]
}

resource "google_pubsub_subscription" "dead_letters" {
  count = length(google_cloud_run_v2_service.extract_audio)

  name                       = "dead-letters-push"
  topic                      = google_pubsub_topic.topic["dead-letters"].id
  ack_deadline_seconds       = 600
  message_retention_duration = "2678400s" # 31 days: there is no further queue

  push_config {
    push_endpoint = "${google_cloud_run_v2_service.extract_audio[0].uri}/dead-letter"

    oidc_token {
      service_account_email = google_service_account.component["push"].email
      audience              = local.push_audiences["recordings"]
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  expiration_policy {
    ttl = ""
  }

  depends_on = [
    google_cloud_run_v2_service_iam_member.push,
    google_service_account_iam_member.push_tokens,
  ]
}

# Pub/Sub's agent signs the token of each push. Its own role includes that only where Google granted
# the role, which it does not when `services identity create` made the agent.
# Source: "Authentication for push subscriptions", cloud.google.com/pubsub/docs/authenticate-push-subscriptions
resource "google_service_account_iam_member" "push_tokens" {
  service_account_id = google_service_account.component["push"].name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = local.pubsub_agent

  depends_on = [google_project_service.api["iamcredentials.googleapis.com"]]
}

# Pub/Sub's agent moves dead letters: it publishes them, and acknowledges what it moved.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  topic  = google_pubsub_topic.topic["dead-letters"].id
  role   = "roles/pubsub.publisher"
  member = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = google_pubsub_subscription.push

  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}

# notify finds recordings, nightly finds files, maintain requeues both, and the dashboard retries both.
resource "google_pubsub_topic_iam_member" "publisher" {
  for_each = {
    dashboard-recordings = ["dashboard", "recordings"]
    dashboard-sftp-files = ["dashboard", "sftp-files"]
    maintain-recordings  = ["maintain", "recordings"]
    maintain-sftp-files  = ["maintain", "sftp-files"]
    nightly-sftp-files   = ["nightly", "sftp-files"]
    notify-recordings    = ["notify", "recordings"]
  }

  topic  = google_pubsub_topic.topic[each.value[1]].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.component[each.value[0]].member
}

# /health checks that the queues exist, which a publisher is not allowed to.
resource "google_pubsub_topic_iam_member" "viewer" {
  for_each = {
    dashboard-recordings = ["dashboard", "recordings"]
    dashboard-sftp-files = ["dashboard", "sftp-files"]
    extract-recordings   = ["extract", "recordings"]
  }

  topic  = google_pubsub_topic.topic[each.value[1]].id
  role   = "roles/pubsub.viewer"
  member = google_service_account.component[each.value[0]].member
}
