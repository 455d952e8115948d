# One for each component, so that each can do its own work and nothing else.

locals {
  service_accounts = {
    build        = "Builds the functions"
    compress     = "Compresses files of the SFTP server"
    drive-reader = "Reads Drive: folders are shared with it, or the domain delegates to it"
    extract      = "Extracts the audio of recordings"
    maintain     = "Keeps Drive's channels, sweeps and requeues"
    nightly      = "Lists the SFTP server"
    notify       = "Receives Drive's notifications"
    push         = "Pub/Sub calls the workers as this"
    scheduler    = "Cloud Scheduler calls the functions as this"
  }

  # Who writes records, and who reads Drive.
  tracking     = toset(["compress", "extract", "maintain", "nightly", "notify"])
  read_drive   = toset(["extract", "maintain", "notify"])
  database     = "projects/${var.project_id}/databases/${google_firestore_database.tracker.name}"
  source_agent = "gcf-v2-sources-${local.project_number}-${var.region}"
}

resource "google_service_account" "component" {
  for_each = local.service_accounts

  account_id   = "audio-${each.key}"
  display_name = "audio-pipeline: ${each.key}"
  description  = each.value

  depends_on = [google_project_service.api["iam.googleapis.com"]]
}

# A database has no policy of its own: the condition holds the grant to the one.
resource "google_project_iam_member" "tracker" {
  for_each = local.tracking

  project = var.project_id
  role    = "roles/datastore.user"
  member  = google_service_account.component[each.key].member

  condition {
    title       = "audio-pipeline-tracker"
    description = "The tracker's database alone"
    expression  = "resource.name == \"${local.database}\""
  }
}

# They take on the reader's identity to read Drive, without any key.
resource "google_service_account_iam_member" "read_drive" {
  for_each = local.read_drive

  service_account_id = google_service_account.component["drive-reader"].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.component[each.key].member

  depends_on = [google_project_service.api["iamcredentials.googleapis.com"]]
}

# Builds of functions: log, read the source (which Cloud Functions copies to a bucket that it
# makes itself at the first build), push the image.
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
    description = "The buckets of the functions' source alone"
    expression = join(" || ", [
      for bucket in [local.source_agent, google_storage_bucket.functions_source.name] :
      "resource.name.startsWith(\"projects/_/buckets/${bucket}/\")"
    ])
  }
}

# What the functions' builds make, and the image.
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
