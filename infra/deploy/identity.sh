#!/bin/sh
# Creates what an outside CI and Cloud Build's triggers deploy as, once for each project:
#   PROJECT=my-project ENV=staging infra/deploy/identity.sh -var repository=owner/name
. "$(dirname "$0")/lib.sh"

"$ROOT/infra/deploy/bootstrap.sh"
use_login
TF_DATA_DIR=$WORK/identity
identity() { terraform -chdir="$ROOT/infra/terraform/identity" "$@"; }
identity init -reconfigure -backend-config="bucket=$STATE_BUCKET" -backend-config=prefix=identity
# Terraform asks before it applies.
TF_INPUT=1
identity apply -var "project_id=$PROJECT" -var "region=$REGION" -var "environment=$ENV" "$@"
