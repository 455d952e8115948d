# The part of infra/terraform that the scripts see, without a provider.

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

variable "web_image" {
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

  # As a new project that is not ready: fails as often as the file `flaky` has it.
  provisioner "local-exec" {
    command = <<-EOT
      left=$(cat '${path.module}/flaky' 2>/dev/null || echo 0)
      [ "$left" -le 0 ] || { echo $((left - 1)) >'${path.module}/flaky'; exit 1; }
    EOT
  }
}

resource "terraform_data" "extract_audio" {
  count = var.image == "" ? 0 : 1

  input            = var.image
  triggers_replace = var.image

  # A revision that does not become ready fails the apply.
  provisioner "local-exec" {
    command = "! grep -qsF '${var.image}' '${path.module}/broken'"
  }
}

resource "terraform_data" "notify" {
  count = var.web_image == "" ? 0 : 1

  input = var.web_image
}

output "environment" {
  value = var.environment
}

output "webhook_url" {
  value = "https://notify.example"
}
