# Defaults of the environment, the same for everybody. Your own values go to dev.local.tfvars beside
# this file, which git ignores and which wins.
environment      = "dev"
soft_delete_days = 0
