output "deployer" {
  description = "The account to deploy as: service_account of the CI's login."
  value       = google_service_account.deployer.email
}

output "identity_provider" {
  description = "workload_identity_provider of the CI's login; empty without a repository."
  value       = one(google_iam_workload_identity_pool_provider.ci[*].name)
}

output "trigger" {
  description = "The trigger of Cloud Build; empty without a connected repository."
  value       = one(google_cloudbuild_trigger.deploy[*].name)
}
