resource "google_secret_manager_secret" "secret" {
  for_each = toset(["channel-key", "sftp-credentials"])

  secret_id = each.key

  replication {
    user_managed {
      replicas {
        location = var.region

        dynamic "customer_managed_encryption" {
          for_each = var.kms_key_name == "" ? [] : [var.kms_key_name]

          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["secretmanager.googleapis.com"],
  ]
}

moved {
  from = google_secret_manager_secret.channel_key
  to   = google_secret_manager_secret.secret["channel-key"]
}

moved {
  from = google_secret_manager_secret.sftp_credentials
  to   = google_secret_manager_secret.secret["sftp-credentials"]
}

# A function does not start while its secret has no version. This one is an empty object, which
# counts as not set. The real one is added by hand, so that no state contains it:
#   gcloud secrets versions add sftp-credentials --data-file=- < credentials.json
resource "google_secret_manager_secret_version" "sftp_credentials" {
  secret                 = google_secret_manager_secret.secret["sftp-credentials"].id
  secret_data_wo         = "{}"
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_iam_member" "sftp_credentials" {
  for_each = toset(["compress", "nightly"])

  secret_id = google_secret_manager_secret.secret["sftp-credentials"].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.component[each.key].member
}

# Signs the tokens of Drive's channels, so that notify refuses a forgery without reading the database.
# No person needs to know it. It is made with this version and written only to Secret Manager:
# uuid() is random, and a write-only value is in no plan and no state. A higher
# secret_data_wo_version makes another key, and the next maintain renews every channel.
resource "google_secret_manager_secret_version" "channel_key" {
  secret                 = google_secret_manager_secret.secret["channel-key"].id
  secret_data_wo         = sha256("${uuid()}${uuid()}${uuid()}")
  secret_data_wo_version = 1
}

resource "google_secret_manager_secret_iam_member" "channel_key" {
  for_each = toset(["maintain", "notify"])

  secret_id = google_secret_manager_secret.secret["channel-key"].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.component[each.key].member
}
