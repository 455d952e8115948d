# Shared by every step of a deployment: its settings, checked, and Terraform with them.
# Sourced, never run. Settings come from the environment, as `make deploy PROJECT=…` sets them:
#   PROJECT  the Google Cloud project's id (required)    REGION  europe-west1 by default
#   ENV      dev, staging or prod (default dev)          YES=1   apply without asking
# shellcheck shell=sh

set -eu
umask 077

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PROJECT=${PROJECT:-}
REGION=${REGION:-europe-west1}
ENV=${ENV:-dev}
TERRAFORM_DIR=${TERRAFORM_DIR:-$ROOT/infra/terraform}

say() { printf '\n== %s\n' "$*"; }

# 1: something was tried and failed. 2: nothing was tried, and the message names the fix.
fail() { printf 'deploy: %s\n' "$*" >&2; exit 1; }
refuse() { printf 'deploy: %s\n' "$*" >&2; exit 2; }

matches() { printf '%s\n' "$1" | LC_ALL=C grep -Eqx "$2"; }

# The make target, for messages; each script of a target starts with it.
case $(basename "$0" .sh) in
destroy) TARGET=destroy ;;
plan_only) TARGET=plan ;;
*) TARGET=deploy ;;
esac

check_settings() {
    [ -n "$PROJECT" ] || refuse "no project; for example: make $TARGET PROJECT=my-project"
    matches "$PROJECT" '[a-z][a-z0-9-]{4,28}[a-z0-9]' ||
        refuse "'$PROJECT' is not a project id; list yours: gcloud projects list"
    matches "$REGION" '[a-z]+-[a-z]+[0-9]+' ||
        refuse "'$REGION' is not a region; for example REGION=europe-west1"
    case $ENV in
    dev | staging | prod) ;;
    *) refuse "'$ENV' is not an environment; choose ENV=dev, ENV=staging or ENV=prod" ;;
    esac
}

check_settings

REGISTRY=$REGION-docker.pkg.dev/$PROJECT/audio-pipeline
STATE_BUCKET=$PROJECT-terraform-state
# One directory for each project and environment, so that no step finds another's plan or state.
WORK=${DEPLOY_DIR:-$ROOT/build/deploy}/$PROJECT-$ENV
mkdir -p "$WORK"

export TF_DATA_DIR="$WORK/terraform" TF_IN_AUTOMATION=1 TF_INPUT=0

# Terraform uses gcloud's login, so there is one login and no key in a file. It cannot renew the
# token, and print-access-token may return one with minutes left. In Cloud Build
# (TERRAFORM_LOGIN=metadata) the provider gets its own from the metadata server, and renews it.
use_login() {
    [ "${TERRAFORM_LOGIN:-gcloud}" = gcloud ] || return 0
    if [ -z "${GOOGLE_OAUTH_ACCESS_TOKEN:-}${GOOGLE_APPLICATION_CREDENTIALS:-}" ]; then
        GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud config config-helper --min-expiry=55m \
            '--format=value(credential.access_token)') ||
            fail "gcloud gives no token; run: gcloud auth login"
        export GOOGLE_OAUTH_ACCESS_TOKEN
    fi
}

tf() { terraform -chdir="$TERRAFORM_DIR" "$@"; }

# The files with the environment's variables. The example is in version control; your own values
# are in the second file, which git ignores.
variable_files() {
    printf '%s\n' "environments/$ENV.tfvars"
    local_file=environments/$ENV.local.tfvars
    if [ -f "$TERRAFORM_DIR/$local_file" ]; then printf '%s\n' "$local_file"; fi
}

# setting NAME: a variable's text in these files, as far as it is a plain string; the last wins.
setting() {
    variable_files | while read -r file; do
        sed -n "s/^ *$1 *= *\"\(.*\)\".*/\1/p" "$TERRAFORM_DIR/$file"
    done | tail -n 1
}

# tf_with IMAGE WEB_IMAGE COMMAND…: Terraform with the environment's variables; the last ones win.
tf_with() {
    image=$1 web_image=$2
    shift 2
    for file in $(variable_files); do set -- "$@" -var-file="$file"; done
    tf "$@" -var "project_id=$PROJECT" -var "region=$REGION" -var "environment=$ENV" \
        -var "image=$image" -var "web_image=$web_image"
}

# Steps may be separate processes, so they pass digests and names to the next ones in files.
keep() { printf '%s\n' "$2" >"$WORK/$1"; }
kept() {
    [ -f "$WORK/$1" ] || fail "an earlier step wrote no $1; run all of them: make deploy"
    cat "$WORK/$1"
}

read_state() { tf state pull || fail "the state in gs://$STATE_BUCKET cannot be read"; }

# deployed_image STATE NAME: the image by digest that the state contains, empty when there is none.
# Read from the resources, not from an output: an apply that failed may have written only those.
deployed_image() {
    printf '%s\n' "$1" |
        sed -n "s|.*\"\($REGISTRY/$2@sha256:[0-9a-f]\{64\}\)\".*|\1|p" | tail -n 1
}

# deployed_environment STATE: from the output of this name; empty before the first apply.
deployed_environment() {
    printf '%s\n' "$1" | tr -d ' \n' |
        sed -n 's/.*"environment":{"value":"\([a-z]*\)".*/\1/p'
}
