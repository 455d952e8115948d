# The account that an outside CI and Cloud Build's triggers deploy as. It is neither owner nor editor:
# each role is listed with its reason, and the roles that it may grant to others are limited.

locals {
  deployer_roles = {
    "roles/artifactregistry.admin"         = "the repositories, their policies, and the images' digests"
    "roles/cloudbuild.builds.editor"       = "submits the images' build, which runs as audio-build"
    "roles/cloudfunctions.admin"           = "the functions"
    "roles/cloudscheduler.admin"           = "the schedules, and running one in the smoke test"
    "roles/compute.networkAdmin"           = "the fixed address towards the SFTP server (static_egress_ip)"
    "roles/datastore.owner"                = "the database, its indexes and its TTL"
    "roles/iam.serviceAccountCreator"      = "the components' accounts; on these it gets more, below"
    "roles/iap.admin"                      = "who may use the dashboard"
    "roles/logging.configWriter"           = "the metrics of logs"
    "roles/logging.logWriter"              = "writes the log of its own builds"
    "roles/monitoring.editor"              = "alerts, dashboard and notification channels"
    "roles/ondemandscanning.admin"         = "the scan of the images"
    "roles/pubsub.admin"                   = "topics, subscriptions and their policies"
    "roles/run.admin"                      = "services and the job, who may call them, and the smoke test's calls"
    "roles/secretmanager.admin"            = "the secret and who may read it"
    "roles/serviceusage.serviceUsageAdmin" = "the APIs, and Google's service agents"
    "roles/storage.admin"                  = "the buckets, including the state's"
  }

  # The components' accounts, the same as the environment's: key and description.
  components = jsondecode(file("${path.module}/service_accounts.json"))

  # What the environment grants on the project.
  grantable_roles = [
    "roles/browser",
    "roles/datastore.user",
    "roles/logging.logWriter",
    "roles/storage.bucketViewer",
    "roles/storage.objectViewer",
  ]
}

resource "google_service_account" "deployer" {
  account_id   = "audio-deployer"
  display_name = "audio-pipeline: deployer"
  description  = "Deploys from CI and from Cloud Build"

  depends_on = [google_project_service.api["iam.googleapis.com"]]
}

resource "google_project_iam_member" "deployer" {
  # checkov:skip=CKV_GCP_49: cloudbuild.builds.editor submits builds, which run as an account that the deployer may act as, and it may act as the components' accounts only
  for_each = local.deployer_roles

  project = var.project_id
  role    = each.key
  member  = google_service_account.deployer.member
}

# With serviceAccountUser and serviceAccountAdmin on the project it could act as any account there,
# Compute Engine's default with its role of editor too. So it gets them on the components' accounts
# alone. IAM conditions cannot do that, since the resource type is not one of theirs, and a grant needs
# its account, so a person creates the accounts here. The environment finds them there, and creates
# them itself where this configuration is not used.
# Source: "Resource attributes for IAM Conditions", cloud.google.com/iam/docs/conditions-resource-attributes
resource "google_service_account" "component" {
  for_each = local.components

  account_id                   = "audio-${each.key}"
  display_name                 = "audio-pipeline: ${each.key}"
  description                  = each.value
  create_ignore_already_exists = true

  depends_on = [google_project_service.api["iam.googleapis.com"]]
}

resource "google_service_account_iam_member" "deployer_on_component" {
  for_each = {
    for pair in setproduct(keys(local.components), ["Admin", "User"]) : "${pair[0]}-${lower(pair[1])}" => pair
  }

  service_account_id = google_service_account.component[each.value[0]].name
  role               = "roles/iam.serviceAccount${each.value[1]}"
  member             = google_service_account.deployer.member
}

# Without the condition it could grant itself owner.
resource "google_project_iam_member" "deployer_grants" {
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.deployer.member

  condition {
    title       = "what-components-need"
    description = "Grants and revokes only the roles that the components have on the project"
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly([${join(", ", formatlist("'%s'", local.grantable_roles))}])"
  }
}

# An outside CI has no metadata server to give the smoke test an identity token, so it impersonates
# the deployer. gcloud gets an access token of the account first, which takes getAccessToken besides
# getOpenIdToken; only this role has both.
# Source: "Service Account Token Creator", cloud.google.com/iam/docs/service-account-permissions
resource "google_service_account_iam_member" "deployer_identity_tokens" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.deployer.member
}
