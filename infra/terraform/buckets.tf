locals {
  # By age, unless Cloud Storage chooses.
  colder_classes = var.autoclass ? {} : {
    for class, days in { NEARLINE = var.nearline_after_days, COLDLINE = var.coldline_after_days } : class => days if days > 0
  }
}

resource "google_storage_bucket" "audio" {
  # checkov:skip=CKV_GCP_62: who reads is in Cloud Audit Logs, switched on by audit_data_access
  # checkov:skip=CKV_GCP_78: a choice (bucket_versioning); soft delete brings back what is deleted by mistake
  name                        = "${var.project_id}-audio"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = !local.protected

  autoclass {
    enabled = var.autoclass
  }

  versioning {
    enabled = var.bucket_versioning
  }

  soft_delete_policy {
    retention_duration_seconds = var.soft_delete_days * 24 * 60 * 60
  }

  dynamic "encryption" {
    for_each = var.kms_key_name == "" ? [] : [var.kms_key_name]

    content {
      default_kms_key_name = encryption.value
    }
  }

  dynamic "lifecycle_rule" {
    for_each = local.colder_classes

    content {
      action {
        type          = "SetStorageClass"
        storage_class = lifecycle_rule.key
      }
      condition {
        age            = lifecycle_rule.value
        matches_suffix = [".flac", ".m4a", ".mka", ".mp3", ".ogg", ".opus", ".wav"]
      }
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = var.log_retention_days
      matches_prefix = ["${var.environment}/metadata/processing-logs/"]
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["storage.googleapis.com"],
  ]
}

# The workers create, replace and delete their own objects; nightly reads what is there.
resource "google_storage_bucket_iam_member" "audio" {
  for_each = toset(["compress", "extract"])

  bucket = google_storage_bucket.audio.name
  role   = "roles/storage.objectUser"
  member = google_service_account.component[each.key].member
}

resource "google_storage_bucket" "functions_source" {
  # checkov:skip=CKV_GCP_62: archives of code that is in version control
  name                        = "${var.project_id}-functions-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # every archive can be made again

  versioning {
    enabled = true
  }

  soft_delete_policy {
    retention_duration_seconds = 0
  }

  dynamic "encryption" {
    for_each = var.kms_key_name == "" ? [] : [var.kms_key_name]

    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = 30
      with_state                 = "ARCHIVED"
    }
  }

  # What the image was built of; the image itself is in the registry.
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age            = 7
      matches_prefix = ["image/"]
    }
  }

  depends_on = [
    google_kms_crypto_key_iam_member.agent,
    google_project_service.api["storage.googleapis.com"],
  ]
}
