terraform {
  required_version = ">= 1.11"

  required_providers {
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.7"
    }
    google = {
      source  = "hashicorp/google"
      version = ">= 7.34, < 8"
    }
  }

  # Bucket and prefix come from `terraform init -backend-config`, one bucket for each project.
  backend "gcs" {}
}
