# With your own key, each service encrypts as its own agent, which needs a grant on the key.

locals {
  key_agents = var.kms_key_name == "" ? {} : {
    artifactregistry = "gcp-sa-artifactregistry.iam.gserviceaccount.com"
    cloudfunctions   = "gcf-admin-robot.iam.gserviceaccount.com"
    firestore        = "gcp-sa-firestore.iam.gserviceaccount.com"
    pubsub           = "gcp-sa-pubsub.iam.gserviceaccount.com"
    run              = "serverless-robot-prod.iam.gserviceaccount.com"
    secretmanager    = "gcp-sa-secretmanager.iam.gserviceaccount.com"
    storage          = "gs-project-accounts.iam.gserviceaccount.com"
  }
}

resource "google_kms_crypto_key_iam_member" "agent" {
  for_each = local.key_agents

  crypto_key_id = var.kms_key_name
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:service-${local.project_number}@${each.value}"

  depends_on = [google_project_service.api]
}
