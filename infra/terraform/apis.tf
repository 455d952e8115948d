locals {
  # infra/deploy/bootstrap.sh enables apis.json before Terraform runs, since an API answers only some
  # time after it is enabled.
  apis = toset(concat(
    jsondecode(file("${path.module}/apis.json")),
    var.billing_account == "" ? [] : ["billingbudgets.googleapis.com"],
    length(var.dashboard_members) == 0 ? [] : ["iap.googleapis.com"],
    local.uses_vpc ? ["compute.googleapis.com"] : [],
    var.kms_key_name == "" ? [] : ["cloudkms.googleapis.com"],
  ))
}

# Every resource depends on its API. Otherwise the first apply of a project gets 403, and the second
# hides why.
resource "google_project_service" "api" {
  for_each = local.apis

  service            = each.key
  disable_on_destroy = false # others in the project may use it
}
