provider "google" {
  project = var.project_id
  region  = var.region

  # Budgets and others are charged to a quota project when a person applies.
  billing_project       = var.project_id
  user_project_override = true

  default_labels = {
    application = "audio-pipeline"
    environment = var.environment
  }
}

# Without depends_on, which would leave the number unknown in every plan.
data "google_project" "this" {
  project_id = var.project_id
}

locals {
  project_number = data.google_project.this.number
}
