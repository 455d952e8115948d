# Defaults of the environment, the same for everybody. Your own values go to prod.local.tfvars beside
# this file, which git ignores and which wins.
environment       = "prod"
protected         = true
audit_data_access = true
bucket_versioning = true
soft_delete_days  = 30
