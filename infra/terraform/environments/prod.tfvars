environment       = "prod"
protected         = true
audit_data_access = true
bucket_versioning = true
soft_delete_days  = 30
