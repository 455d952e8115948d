# Where the end of each recording is announced (docs/results.md). A topic without subscriptions
# keeps nothing and costs nothing to publish to within the free tier.
#
# It has no schema: Pub/Sub checks messages against Avro or Protocol Buffers only, and a document
# with a new field would be refused until the schema has a revision with that field.
# Source: "Create a schema", cloud.google.com/pubsub/docs/create-schema
resource "google_pubsub_topic" "results" {
  name         = "results"
  kms_key_name = var.kms_key_name == "" ? null : var.kms_key_name

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["pubsub.googleapis.com"],
  ]
}

# The workers, and maintain for what they could not announce.
resource "google_pubsub_topic_iam_member" "results" {
  for_each = toset(["compress", "extract", "maintain"])

  topic  = google_pubsub_topic.results.id
  role   = "roles/pubsub.publisher"
  member = google_service_account.component[each.key].member
}
