# One account for each component, with the grants that its own work needs.

locals {
  # Key and description. The identity configuration creates the same accounts for the deployer.
  service_accounts = jsondecode(file("${path.module}/identity/service_accounts.json"))

  # The accounts that write records, and those that read Drive.
  tracking      = toset(["compress", "dashboard", "extract", "maintain", "nightly", "notify"])
  read_drive    = toset(["extract", "maintain", "notify"])
  database      = "projects/${var.project_id}/databases/${google_firestore_database.tracker.name}"
  source_copies = "gcf-v2-sources-${local.project_number}-${var.region}"
}

resource "google_service_account" "component" {
  for_each = local.service_accounts

  account_id                   = "audio-${each.key}"
  display_name                 = "audio-pipeline: ${each.key}"
  description                  = each.value
  create_ignore_already_exists = true # the identity configuration may have created it

  depends_on = [google_project_service.api["iam.googleapis.com"]]
}

# A database has no IAM policy of its own, so a condition limits the grant to this one.
resource "google_project_iam_member" "tracker" {
  for_each = local.tracking

  project = var.project_id
  role    = "roles/datastore.user"
  member  = google_service_account.component[each.key].member

  condition {
    title       = "audio-pipeline-tracker"
    description = "Only the tracker's database"
    expression  = "resource.name == \"${local.database}\""
  }
}

# They impersonate the reader to read Drive, without a key.
resource "google_service_account_iam_member" "read_drive" {
  for_each = local.read_drive

  service_account_id = google_service_account.component["drive-reader"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.component[each.key].member

  depends_on = [google_project_service.api["iamcredentials.googleapis.com"]]
}

# Builds of functions write logs, read the source, and push the image. Cloud Functions copies the
# source to a bucket that it creates at the first build: gcf-v2-sources-NUMBER-REGION, with a hash
# of the key behind it when kms_key_name is set. So the condition must not end with a slash there.
# Source: "Build process overview", cloud.google.com/functions/docs/building
resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.component["build"].member
}

resource "google_project_iam_member" "build_source" {
  project = var.project_id
  role    = "roles/storage.objectViewer"
  member  = google_service_account.component["build"].member

  condition {
    title       = "functions-source"
    description = "Only the buckets of the functions' source"
    expression = join(" || ", [
      for prefix in [local.source_copies, "${google_storage_bucket.functions_source.name}/"] :
      "resource.name.startsWith(\"projects/_/buckets/${prefix}\")"
    ])
  }
}

# The functions' images, and the images of our own.
resource "google_artifact_registry_repository_iam_member" "build_push" {
  for_each = {
    functions = google_artifact_registry_repository.functions.name
    images    = google_artifact_registry_repository.images.name
  }

  project    = var.project_id
  location   = var.region
  repository = each.value
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.component["build"].member
}
