locals {
  apis = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "cloudbuild.googleapis.com",
      "cloudfunctions.googleapis.com",
      "cloudscheduler.googleapis.com",
      "drive.googleapis.com",
      "firestore.googleapis.com",
      "iam.googleapis.com",
      "iamcredentials.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "run.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    var.billing_account == "" ? [] : ["billingbudgets.googleapis.com"],
    local.uses_vpc ? ["compute.googleapis.com"] : [],
    var.kms_key_name == "" ? [] : ["cloudkms.googleapis.com"],
  ))
}

# Every resource waits for its API: without that the first apply of a project gets 403, and
# the second hides why.
resource "google_project_service" "api" {
  for_each = local.apis

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}
