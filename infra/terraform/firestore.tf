resource "google_firestore_database" "tracker" {
  name        = var.firestore_database
  location_id = var.firestore_location == "" ? var.region : var.firestore_location
  type        = "FIRESTORE_NATIVE"

  point_in_time_recovery_enablement = local.protected ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"
  delete_protection_state           = local.protected ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"

  # By default the database would stay, and the next apply could not create it.
  deletion_policy = "DELETE"

  dynamic "cmek_config" {
    for_each = var.kms_key_name == "" ? [] : [var.kms_key_name]

    content {
      kms_key_name = cmek_config.value
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["firestore.googleapis.com"],
  ]
}

# The indexes that the code's queries need; a test compares them.
resource "google_firestore_index" "recordings" {
  for_each = {
    for index in jsondecode(file("${path.module}/indexes.json")) :
    join("-", concat([index.collection], [for field in index.fields : "${field.path}-${lower(try(field.order, field.array))}"])) => index
  }

  database   = google_firestore_database.tracker.name
  collection = each.value.collection

  dynamic "fields" {
    for_each = each.value.fields

    content {
      field_path = fields.value.path

      order        = try(fields.value.order, null)
      array_config = try(fields.value.array, null)
    }
  }
}

# Expired channels are deleted. Recordings stay forever, since the audit needs every one.
resource "google_firestore_field" "channel_expiry" {
  database   = google_firestore_database.tracker.name
  collection = "drive_channels"
  field      = "expires_at"

  ttl_config {}
}

resource "google_firestore_backup_schedule" "daily" {
  count = local.protected ? 1 : 0

  database  = google_firestore_database.tracker.name
  retention = "604800s"

  daily_recurrence {}
}
