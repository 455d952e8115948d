# The account that deploys, for an outside CI and for the triggers. Neither owner nor editor: each
# role is here for what it makes, and what it may grant to others is limited.

locals {
  deployer_roles = {
    "roles/artifactregistry.admin"         = "the repositories, their policies, and the image's digest"
    "roles/cloudbuild.builds.editor"       = "submits the image's build, which runs as audio-build"
    "roles/cloudfunctions.admin"           = "the functions"
    "roles/cloudscheduler.admin"           = "the schedules, and running one in the smoke test"
    "roles/compute.networkAdmin"           = "the fixed address towards the SFTP server (static_egress_ip)"
    "roles/datastore.owner"                = "the database, its indexes and its TTL"
    "roles/iam.serviceAccountAdmin"        = "the components' accounts, and who may take them on"
    "roles/iam.serviceAccountUser"         = "deploys services that run as the components' accounts"
    "roles/logging.configWriter"           = "the metrics of logs"
    "roles/logging.logWriter"              = "writes the log of its own build"
    "roles/monitoring.editor"              = "alerts, dashboard and notification channels"
    "roles/ondemandscanning.admin"         = "the scan of the image"
    "roles/pubsub.admin"                   = "topics, subscriptions and their policies"
    "roles/run.admin"                      = "the service and the job, who may call them, and the smoke test's call"
    "roles/secretmanager.admin"            = "the secret and who may read it"
    "roles/serviceusage.serviceUsageAdmin" = "the APIs, and Google's own accounts behind them"
    "roles/storage.admin"                  = "the buckets, among them the state's"
  }

  # What the environment grants on the whole project, each with a condition of its own.
  grantable_roles = [
    "roles/datastore.user",
    "roles/logging.logWriter",
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
  # checkov:skip=CKV_GCP_41: it deploys functions and services that run as accounts which the same apply makes, so that a grant on each cannot come before
  # checkov:skip=CKV_GCP_49: it makes those accounts, and starts the builds; who may be the deployer is held to one repository
  for_each = local.deployer_roles

  project = var.project_id
  role    = each.key
  member  = google_service_account.deployer.member
}

# Without the limit it could make itself an owner.
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

# An outside CI has no metadata server to give the smoke test's identity token.
resource "google_service_account_iam_member" "deployer_identity_tokens" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.serviceAccountOpenIdTokenCreator"
  member             = google_service_account.deployer.member
}
