# As much of infra/terraform as the scripts see, without any provider.

terraform {
  backend "gcs" {}
}

variable "environment" {
  type = string
}

variable "image" {
  type = string
}

variable "project_id" {
  type = string
}

variable "protected" {
  type    = bool
  default = null
}

variable "region" {
  type = string
}

resource "terraform_data" "guard" {
  count = coalesce(var.protected, var.environment == "prod") ? 1 : 0

  lifecycle {
    prevent_destroy = true
  }
}

resource "terraform_data" "registry" {
  input = "${var.region}-docker.pkg.dev/${var.project_id}/audio-pipeline"
}

resource "terraform_data" "extract_audio" {
  count = var.image == "" ? 0 : 1

  input            = var.image
  triggers_replace = var.image

  # As a revision that does not become ready fails the apply.
  provisioner "local-exec" {
    command = "! grep -qsF '${var.image}' '${path.module}/broken'"
  }
}

output "webhook_url" {
  value = "https://notify.example"
}
