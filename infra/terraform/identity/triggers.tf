# Cloud Build listens to a repository that a person connected, since that takes their consent. Each
# environment has the trigger in its own project: staging runs by itself, production waits for a
# person with the role Cloud Build Approver.

resource "google_cloudbuild_trigger" "deploy" {
  count = var.build_repository == "" ? 0 : 1

  name               = "audio-pipeline-${var.environment}"
  description        = "Deploys ${var.branch} to ${var.environment}"
  location           = var.region
  filename           = "cloudbuild.yaml"
  service_account    = google_service_account.deployer.id
  include_build_logs = "INCLUDE_BUILD_LOGS_WITH_STATUS"

  substitutions = {
    _ENV    = var.environment
    _REGION = var.region
  }

  repository_event_config {
    repository = var.build_repository

    push {
      branch = "^${replace(var.branch, ".", "\\.")}$"
    }
  }

  approval_config {
    approval_required = var.environment == "prod"
  }

  depends_on = [google_project_service.api["cloudbuild.googleapis.com"]]
}
