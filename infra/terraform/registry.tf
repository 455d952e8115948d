resource "google_artifact_registry_repository" "images" {
  repository_id = "audio-pipeline"
  location      = var.region
  format        = "DOCKER"
  description   = "The image of extract_audio"
  kms_key_name  = var.kms_key_name == "" ? null : var.kms_key_name

  docker_config {
    immutable_tags = true
  }

  # Enough to roll back to; the rest goes.
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 20
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "7776000s"
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["artifactregistry.googleapis.com"],
  ]
}

resource "google_artifact_registry_repository" "functions" {
  repository_id = "functions"
  location      = var.region
  format        = "DOCKER"
  description   = "What the builds of the functions make"
  kms_key_name  = var.kms_key_name == "" ? null : var.kms_key_name

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["artifactregistry.googleapis.com"],
  ]
}
