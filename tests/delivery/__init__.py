"""Delivery: the scripts of infra/deploy, cloudbuild.yaml, and the deployer's rights."""
