# Defaults of the environment, the same for everybody. Your own values go to staging.local.tfvars beside
# this file, which git ignores and which wins.
environment = "staging"
