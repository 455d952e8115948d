# The topic `results` announces the end of each recording (docs/results.md). Without subscriptions it
# keeps nothing, and publishing to it costs nothing within the free tier.
#
# It has no schema: Pub/Sub checks messages against Avro or Protocol Buffers only, and a document
# with a new field would be refused until the schema has a revision with that field.
# Source: "Create a schema", cloud.google.com/pubsub/docs/create-schema

# The workers publish to it, and maintain what they could not announce.
resource "google_pubsub_topic_iam_member" "results" {
  for_each = toset(["compress", "extract", "maintain"])

  topic  = google_pubsub_topic.topic["results"].id
  role   = "roles/pubsub.publisher"
  member = google_service_account.component[each.key].member
}
