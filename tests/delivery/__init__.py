"""What delivers: the scripts of infra/deploy, cloudbuild.yaml, and who may deploy."""
