terraform {
  required_version = ">= 1.11"

  # Exact versions in place of a lock file, which would name the registry mirror it was written from.
  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "2.8.0"
    }
    google = {
      source  = "hashicorp/google"
      version = "7.45.0"
    }
  }

  # Bucket and prefix come from `terraform init -backend-config`, one bucket for each project.
  backend "gcs" {}
}
