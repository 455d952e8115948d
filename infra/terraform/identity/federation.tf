# Workload Identity Federation: the outside CI shows a token that its issuer signed, and gets one
# of the deployer's for an hour. There is no key to leak.

locals {
  federated = var.repository == "" ? 0 : 1

  condition = coalesce(var.attribute_condition, join(" && ", compact([
    "assertion.repository == '${var.repository}'",
    var.repository_owner_id == "" ? "" : "assertion.repository_owner_id == '${var.repository_owner_id}'",
  ])))

  # Production asks for the branch too: a pull request of the same repository runs with its name.
  principal = var.environment == "prod" ? "attribute.repository_ref/${var.repository}:refs/heads/${var.branch}" : "attribute.repository/${var.repository}"

  apis = toset([
    "cloudbuild.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "sts.googleapis.com",
  ])
}

resource "google_project_service" "api" {
  for_each = local.apis

  service            = each.key
  disable_on_destroy = false # the environment uses them too
}

# A deleted pool can be restored for 30 days, and its name cannot be taken again meanwhile:
#   gcloud iam workload-identity-pools undelete audio-pipeline-ci --location=global
resource "google_iam_workload_identity_pool" "ci" {
  count = local.federated

  workload_identity_pool_id = "audio-pipeline-ci"
  display_name              = "audio-pipeline CI"
  description               = "Identities of the CI that deploys the audio pipeline"

  depends_on = [google_project_service.api]
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  # checkov:skip=CKV_GCP_125: the condition is a variable, which the scan cannot follow; its validation wants a claim and the repository's name
  count = local.federated

  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "oidc"
  display_name                       = "OIDC of the CI"
  attribute_condition                = local.condition

  attribute_mapping = {
    "google.subject"           = "assertion.sub"
    "attribute.ref"            = "assertion.ref"
    "attribute.repository"     = "assertion.repository"
    "attribute.repository_ref" = "assertion.repository + ':' + assertion.ref"
  }

  oidc {
    issuer_uri = var.issuer_uri
  }
}

resource "google_service_account_iam_member" "ci" {
  count = local.federated

  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.ci[0].name}/${local.principal}"
}
