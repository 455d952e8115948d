resource "google_project_iam_audit_config" "data_access" {
  for_each = toset(var.audit_data_access ? ["datastore.googleapis.com", "secretmanager.googleapis.com", "storage.googleapis.com"] : [])

  project = var.project_id
  service = each.key

  audit_log_config {
    log_type = "DATA_READ"
  }
  audit_log_config {
    log_type = "DATA_WRITE"
  }

  depends_on = [google_project_service.api]
}
