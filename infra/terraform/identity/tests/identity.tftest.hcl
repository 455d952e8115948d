mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = {
      email     = "audio-deployer@audio-test-1.iam.gserviceaccount.com"
      id        = "projects/audio-test-1/serviceAccounts/audio-deployer@audio-test-1.iam.gserviceaccount.com"
      member    = "serviceAccount:audio-deployer@audio-test-1.iam.gserviceaccount.com"
      name      = "projects/audio-test-1/serviceAccounts/audio-deployer@audio-test-1.iam.gserviceaccount.com"
      unique_id = "100000000000000000000"
    }
  }

  mock_resource "google_iam_workload_identity_pool" {
    defaults = {
      name = "projects/1/locations/global/workloadIdentityPools/audio-pipeline-ci"
    }
  }
}

variables {
  project_id = "audio-test-1"
  repository = "acme/audio-pipeline"
}

run "staging_takes_the_repository_and_deploys_by_itself" {
  variables {
    environment      = "staging"
    build_repository = "projects/audio-test-1/locations/europe-west1/connections/github/repositories/audio"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_condition == "assertion.repository == 'acme/audio-pipeline' && assertion.event_name != 'pull_request' && assertion.event_name != 'pull_request_target'"
    error_message = "Another repository of the issuer could deploy."
  }
  assert {
    condition     = google_service_account_iam_member.ci[0].member == "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/audio-pipeline-ci/attribute.repository/acme/audio-pipeline"
    error_message = "The binding is not the repository's."
  }
  assert {
    condition     = !google_cloudbuild_trigger.deploy[0].approval_config[0].approval_required
    error_message = "Staging deploys automatically."
  }
  assert {
    condition     = google_cloudbuild_trigger.deploy[0].service_account == google_service_account.deployer.id
    error_message = "The trigger runs as the deployer, not as Cloud Build's default account."
  }
}

run "production_takes_one_branch_and_waits_for_an_approval" {
  variables {
    environment         = "prod"
    repository_owner_id = "4711"
    build_repository    = "projects/audio-test-1/locations/europe-west1/connections/github/repositories/audio"
  }

  assert {
    condition     = endswith(google_service_account_iam_member.ci[0].member, "/attribute.repository_ref/acme/audio-pipeline:refs/heads/main")
    error_message = "Production is deployed from its branch only."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_mapping["attribute.repository_ref"] == "assertion.repository + ':' + assertion.ref"
    error_message = "The binding's attribute is not the one that the token is mapped to."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_condition == "assertion.repository == 'acme/audio-pipeline' && assertion.repository_owner_id == '4711' && assertion.event_name != 'pull_request' && assertion.event_name != 'pull_request_target'"
    error_message = "Somebody who took over the owner's name could deploy."
  }
  assert {
    condition     = google_cloudbuild_trigger.deploy[0].approval_config[0].approval_required
    error_message = "Production waits for an approval."
  }
  assert {
    condition     = google_cloudbuild_trigger.deploy[0].repository_event_config[0].push[0].branch == "^main$"
    error_message = "A branch whose name only contains it would deploy."
  }
}

run "the_deployer_is_no_owner_and_cannot_become_one" {
  variables {
    environment = "dev"
  }

  assert {
    condition = length(setintersection(
      [for grant in google_project_iam_member.deployer : grant.role],
      [
        "roles/owner", "roles/editor", "roles/viewer", "roles/iam.securityAdmin", "roles/iam.serviceAccountKeyAdmin",
        "roles/iam.serviceAccountTokenCreator", "roles/resourcemanager.projectIamAdmin", "roles/iam.workloadIdentityPoolAdmin",
        "roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountUser",
      ],
    )) == 0
    error_message = "A role that grants everything, or lets the deployer grant it."
  }
  assert {
    condition     = google_project_iam_member.deployer_grants.condition[0].expression == "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(['roles/browser', 'roles/datastore.user', 'roles/logging.logWriter', 'roles/storage.bucketViewer', 'roles/storage.objectViewer'])"
    error_message = "It could grant any role, to itself too."
  }
  assert {
    condition     = google_service_account_iam_member.deployer_identity_tokens.role == "roles/iam.serviceAccountTokenCreator" && google_service_account_iam_member.deployer_identity_tokens.service_account_id == google_service_account.deployer.name
    error_message = "The smoke test could not impersonate the deployer: that takes getAccessToken."
  }
  assert {
    condition     = length(google_cloudbuild_trigger.deploy) == 0 && output.trigger == null
    error_message = "Without a connected repository there is nothing to listen to."
  }
}

run "it_acts_as_the_components_and_as_nobody_else" {
  variables {
    environment = "dev"
  }

  assert {
    condition = (
      toset([for grant in google_service_account_iam_member.deployer_on_component : grant.role]) == toset(["roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountUser"]) &&
      length(google_service_account_iam_member.deployer_on_component) == 2 * length(google_service_account.component) &&
      alltrue([for account in google_service_account.component : startswith(account.account_id, "audio-") && account.account_id != "audio-deployer"])
    )
    error_message = "The grants are on the components' accounts alone."
  }
}

run "pull_requests_deploy_nothing" {
  variables {
    environment      = "staging"
    build_repository = "projects/audio-test-1/locations/europe-west1/connections/github/repositories/audio"
  }

  assert {
    condition     = length(google_cloudbuild_trigger.deploy[0].repository_event_config[0].pull_request) == 0 && google_cloudbuild_trigger.deploy[0].repository_event_config[0].push[0].branch == "^main$"
    error_message = "Cloud Build builds pushes to the branch only."
  }
  assert {
    condition     = strcontains(google_iam_workload_identity_pool_provider.ci[0].attribute_condition, "event_name != 'pull_request' &&") && strcontains(google_iam_workload_identity_pool_provider.ci[0].attribute_condition, "event_name != 'pull_request_target'")
    error_message = "The token of a fork's pull request names our repository."
  }
}

run "a_further_condition_narrows" {
  variables {
    environment         = "dev"
    attribute_condition = "assertion.environment == 'production' && assertion.actor != 'bot'"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_condition == "assertion.repository == 'acme/audio-pipeline' && assertion.event_name != 'pull_request' && assertion.event_name != 'pull_request_target' && assertion.environment == 'production' && assertion.actor != 'bot'"
    error_message = "The repository is compared whatever the variable adds."
  }
}

run "an_alternative_is_refused" {
  command = plan

  variables {
    environment         = "dev"
    attribute_condition = "assertion.repository == 'acme/audio-pipeline' || assertion.actor == 'someone'"
  }

  expect_failures = [var.attribute_condition]
}

run "parentheses_are_refused" {
  command = plan

  variables {
    environment         = "dev"
    attribute_condition = "assertion.repository == 'acme/audio-pipeline') || (assertion.repository == 'acme/audio-pipeline'"
  }

  expect_failures = [var.attribute_condition]
}

run "a_quote_in_a_value_is_refused" {
  command = plan

  variables {
    environment         = "dev"
    attribute_condition = "assertion.actor == 'a\\' || true || '"
  }

  expect_failures = [var.attribute_condition]
}

run "claims_widen_nothing" {
  command = plan

  variables {
    environment = "dev"
    issuer_uri  = "https://ci.example.com"
    claims      = { repository = "project", extra = "true || assertion.a == 'b'" }
  }

  expect_failures = [var.claims]
}

run "a_claim_is_a_name" {
  command = plan

  variables {
    environment = "dev"
    issuer_uri  = "https://ci.example.com"
    claims      = { repository = "project == 'x' || assertion.project" }
  }

  expect_failures = [var.claims]
}

run "without_a_repository_no_outside_ci_can_deploy" {
  variables {
    environment = "dev"
    repository  = ""
  }

  assert {
    condition     = length(google_iam_workload_identity_pool.ci) == 0 && length(google_service_account_iam_member.ci) == 0
    error_message = "A pool without a condition on a repository."
  }
}

run "a_condition_that_everybody_meets_is_refused" {
  command = plan

  variables {
    environment         = "dev"
    attribute_condition = "true"
  }

  expect_failures = [var.attribute_condition]
}

run "a_condition_on_another_repository_is_refused" {
  command = plan

  variables {
    environment         = "dev"
    attribute_condition = "assertion.repository == 'someone/else'"
  }

  expect_failures = [var.attribute_condition]
}

run "an_address_is_not_a_repository" {
  command = plan

  variables {
    environment = "dev"
    repository  = "https://github.com/acme/audio-pipeline"
  }

  expect_failures = [var.repository]
}

run "gitlab_names_its_claims_otherwise" {
  variables {
    environment = "prod"
    issuer_uri  = "https://gitlab.com"
    repository  = "acme/audio/pipeline"
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_condition == "assertion.project_path == 'acme/audio/pipeline' && assertion.ref_type == 'branch' && assertion.pipeline_source != 'merge_request_event'"
    error_message = "GitLab's tokens have no claim repository, and a tag may have a branch's name."
  }
  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_mapping["attribute.repository_ref"] == "assertion.project_path + ':' + assertion.ref" && endswith(google_service_account_iam_member.ci[0].member, "/attribute.repository_ref/acme/audio/pipeline:main")
    error_message = "GitLab's refs have no refs/heads/."
  }
}

run "another_issuer_needs_its_claims" {
  command = plan

  variables {
    environment = "dev"
    issuer_uri  = "https://ci.example.com"
  }

  expect_failures = [var.claims]
}

run "another_issuer_with_its_claims" {
  variables {
    environment = "dev"
    issuer_uri  = "https://ci.example.com"
    claims      = { repository = "project" }
  }

  assert {
    condition     = google_iam_workload_identity_pool_provider.ci[0].attribute_mapping["attribute.repository"] == "assertion.project"
    error_message = "The mapping uses the given claims."
  }
}
