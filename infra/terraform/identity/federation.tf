# Workload Identity Federation: the outside CI exchanges a token that its issuer signed for one of the
# deployer's, for an hour. There is no key to leak.

locals {
  federated = var.repository == "" ? 0 : 1

  github = "https://token.actions.githubusercontent.com"
  gitlab = "https://gitlab.com"

  # Which claims of a token name the repository, its owner and the branch, and what shows that a
  # pull request is built. Such a token names the repository that the request is for, also when the
  # code comes from a fork. GitLab's `ref` has no refs/heads/ and may be a tag, which ref_type shows.
  # Sources: "OpenID Connect reference", GitHub; "OpenID Connect (OIDC) authentication using ID
  # tokens", GitLab
  known_claims = {
    (local.github) = {
      branch_prefix = "refs/heads/"
      extra         = "assertion.event_name != 'pull_request' && assertion.event_name != 'pull_request_target'"
      owner_id      = "repository_owner_id"
      ref           = "ref"
      repository    = "repository"
    }
    (local.gitlab) = {
      branch_prefix = ""
      extra         = "assertion.ref_type == 'branch' && assertion.pipeline_source != 'merge_request_event'"
      owner_id      = "namespace_id"
      ref           = "ref"
      repository    = "project_path"
    }
  }
  claims = var.claims != null ? var.claims : lookup(local.known_claims, var.issuer_uri, local.known_claims[local.github])

  # Every part must hold. The variables add parts and never replace one, and their validations allow
  # only comparisons joined by &&, so that none can widen the others.
  condition = join(" && ", compact([
    "assertion.${local.claims.repository} == '${var.repository}'",
    var.repository_owner_id == "" ? "" : "assertion.${local.claims.owner_id} == '${var.repository_owner_id}'",
    local.claims.extra,
    var.attribute_condition,
  ]))

  # Production checks the branch too: a pull request of the same repository has the same name.
  principal = var.environment == "prod" ? "attribute.repository_ref/${var.repository}:${local.claims.branch_prefix}${var.branch}" : "attribute.repository/${var.repository}"

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

# A deleted pool can be restored for 30 days, and its name cannot be used again until then:
#   gcloud iam workload-identity-pools undelete audio-pipeline-ci --location=global
resource "google_iam_workload_identity_pool" "ci" {
  count = local.federated

  workload_identity_pool_id = "audio-pipeline-ci"
  display_name              = "audio-pipeline CI"
  description               = "Identities of the CI that deploys the audio pipeline"

  depends_on = [google_project_service.api]
}

resource "google_iam_workload_identity_pool_provider" "ci" {
  # checkov:skip=CKV_GCP_125: the condition is computed, which the scan cannot follow; a test checks that it names the repository
  count = local.federated

  workload_identity_pool_id          = google_iam_workload_identity_pool.ci[0].workload_identity_pool_id
  workload_identity_pool_provider_id = "oidc"
  display_name                       = "OIDC of the CI"
  attribute_condition                = local.condition

  attribute_mapping = {
    "google.subject"           = "assertion.sub"
    "attribute.ref"            = "assertion.${local.claims.ref}"
    "attribute.repository"     = "assertion.${local.claims.repository}"
    "attribute.repository_ref" = "assertion.${local.claims.repository} + ':' + assertion.${local.claims.ref}"
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
