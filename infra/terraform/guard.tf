locals {
  protected = coalesce(var.protected, var.environment == "prod")
}

# Fails `terraform destroy` in the plan, before anything is deleted. A deletion policy of a resource
# fails when half of the others are already deleted.
resource "terraform_data" "guard" {
  count = local.protected ? 1 : 0

  input = var.project_id

  lifecycle {
    prevent_destroy = true
  }
}
