#!/bin/sh
# Runs Terraform on the project's state with gcloud's login:
#   PROJECT=my-project ENV=prod infra/deploy/terraform.sh state list
# `import` and `plan` get the environment's variables and the deployed images too.
. "$(dirname "$0")/lib.sh"

"$ROOT/infra/deploy/init.sh" >&2
use_login
case ${1:-} in
plan | apply | import | refresh | console)
    command=$1
    shift
    image=$(kept previous) web_image=$(kept previous-web)
    for file in $(variable_files); do set -- -var-file="$file" "$@"; done
    tf "$command" -var "project_id=$PROJECT" -var "region=$REGION" -var "environment=$ENV" \
        -var "image=$image" -var "web_image=$web_image" "$@"
    ;;
*) tf "$@" ;;
esac
