# Who may deploy from outside, in a state of its own (prefix identity). A deleted identity pool keeps
# its name for 30 days, so an environment that is destroyed and deployed again must not contain one.
# A person applies this once for each project; the deployer created here cannot change it.

terraform {
  required_version = ">= 1.11"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "7.45.0"
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
