resource "google_artifact_registry_repository" "images" {
  repository_id = "audio-pipeline"
  location      = var.region
  format        = "DOCKER"
  description   = "The images of extract_audio and of notify and dashboard"
  kms_key_name  = var.kms_key_name == "" ? null : var.kms_key_name

  # Tags can be moved. An image with an immutable tag can never be deleted, not even by the policies
  # below, and deployments name digests anyway.
  # Source: "Immutable tags", cloud.google.com/artifact-registry/docs/docker/manage-images

  # Enough to roll back to; the rest is deleted.
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
  description   = "The images that builds of the functions create"
  kms_key_name  = var.kms_key_name == "" ? null : var.kms_key_name

  # Cloud Run keeps its own copy of an image that a serving revision uses.
  # Source: "Deploying container images", cloud.google.com/run/docs/deploying
  cleanup_policies {
    id     = "keep-recent"
    action = "KEEP"

    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      older_than = "2592000s"
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["artifactregistry.googleapis.com"],
  ]
}
