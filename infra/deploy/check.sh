#!/bin/sh
# Checks the tools and the login that a deployment needs. Exit 2 with a message for what is missing.
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

# beta shows the log of a build and creates Google's service agents; local-extract reads the image
# for the scan, and has no part in SCAN=off.
components=beta
[ "${SCAN:-on}" = off ] || components="beta local-extract"
installed=$(gcloud version)
for component in $components; do
    printf '%s\n' "$installed" | grep -q "^$component " ||
        refuse "gcloud has no component $component; install it: gcloud components install \
$component (with apt: apt-get install google-cloud-cli-$component)"
done

[ -n "$(gcloud auth list --filter=status:ACTIVE '--format=value(account)')" ] ||
    refuse "gcloud is not logged in; run: gcloud auth login"
gcloud auth print-access-token >/dev/null ||
    refuse "gcloud's login has expired; run: gcloud auth login"

# "Restricted regions for some projects", https://cloud.google.com/build/docs/locations
case $REGION in
asia-east1 | australia-southeast1 | europe-west1 | southamerica-east1 | us-central1 | us-west2) ;;
*) echo "deploy: note that new projects cannot build in $REGION; see Regions in docs/operations.md" >&2 ;;
esac
