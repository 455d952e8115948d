output "deployer" {
  description = "The account to deploy as, for the CI's login (service_account)."
  value       = google_service_account.deployer.email
}

output "identity_provider" {
  description = "The provider for the CI's login (workload_identity_provider); empty without a repository."
  value       = one(google_iam_workload_identity_pool_provider.ci[*].name)
}

output "trigger" {
  description = "Cloud Build's trigger; empty without a connected repository."
  value       = one(google_cloudbuild_trigger.deploy[*].name)
}
