locals {
  # By age, unless autoclass chooses.
  colder_classes = var.autoclass ? {} : {
    for class, days in { NEARLINE = var.nearline_after_days, COLDLINE = var.coldline_after_days } : class => days if days > 0
  }
}

resource "google_storage_bucket" "audio" {
  # checkov:skip=CKV_GCP_62: reads are in Cloud Audit Logs, switched on by audit_data_access
  # checkov:skip=CKV_GCP_78: a choice (bucket_versioning); soft delete restores what is deleted by mistake
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

# The workers create, replace and delete their own objects.
resource "google_storage_bucket_iam_member" "audio" {
  for_each = toset(["compress", "extract"])

  bucket = google_storage_bucket.audio.name
  role   = "roles/storage.objectUser"
  member = google_service_account.component[each.key].member
}

# The dashboard checks objects and signs links to them, which work as far as its own access does.
resource "google_storage_bucket_iam_member" "dashboard" {
  bucket = google_storage_bucket.audio.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.component["dashboard"].member
}

# People who browse the console, with the dashboard or without.
resource "google_storage_bucket_iam_member" "viewer" {
  for_each = setunion(var.viewers, var.dashboard_members)

  bucket = google_storage_bucket.audio.name
  role   = "roles/storage.objectViewer"
  member = each.key
}

# The console's pages of buckets need resourcemanager.projects.get and storage.buckets.list on the
# project; neither role reads any object.
# Source: "IAM permissions for the Google Cloud console", cloud.google.com/storage/docs/access-control/iam-console
resource "google_project_iam_member" "console" {
  for_each = {
    for pair in setproduct(["roles/browser", "roles/storage.bucketViewer"], setunion(var.viewers, var.dashboard_members)) :
    join(" ", pair) => { role = pair[0], member = pair[1] }
  }

  project = var.project_id
  role    = each.value.role
  member  = each.value.member

  depends_on = [google_project_service.api["storage.googleapis.com"]]
}

resource "google_storage_bucket" "functions_source" {
  # checkov:skip=CKV_GCP_62: archives of code that is in version control
  name                        = "${var.project_id}-functions-source"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # every archive can be built again

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

  # Sources of the images; the images themselves are in the registry.
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
