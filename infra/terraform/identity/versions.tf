# Who may deploy from outside, in a state of its own (prefix identity): pools of
# identities are soft-deleted, and keep their names for 30 days, so that an environment which is
# destroyed and made again must not hold one. Applied by a person, once for each project; the
# deployer made here cannot change it.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 7.34, < 8"
    }
  }

  # Bucket and prefix come from `terraform init -backend-config`.
  backend "gcs" {}
}

provider "google" {
  project               = var.project_id
  region                = var.region
  billing_project       = var.project_id
  user_project_override = true
}
