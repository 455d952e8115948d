#!/bin/sh
# The tools and the login that a deployment needs; a sentence for what is missing, and exit 2.
. "$(dirname "$0")/lib.sh"

needs() { command -v "$1" >/dev/null 2>&1 || refuse "no $1 here; install it: $2"; }

needs gcloud https://cloud.google.com/sdk/docs/install
needs terraform https://developer.hashicorp.com/terraform/install
needs curl https://curl.se/download.html

[ -f "$TERRAFORM_DIR/environments/$ENV.tfvars" ] ||
    refuse "environments/$ENV.tfvars is missing from $TERRAFORM_DIR"

version=$(terraform version | sed -n '1s/^Terraform v//p')
case $version in
1.1[1-9]* | 1.[2-9][0-9]* | [2-9]*) ;;
*) refuse "Terraform 1.11 or newer is needed, this is ${version:-unknown}" ;;
esac

[ -n "$(gcloud auth list --filter=status:ACTIVE '--format=value(account)')" ] ||
    refuse "gcloud is not logged in; run: gcloud auth login"
gcloud auth print-access-token >/dev/null ||
    refuse "gcloud's login has run out; run: gcloud auth login"
