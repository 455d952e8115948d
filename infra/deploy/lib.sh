# What every step of a delivery shares: its settings, checked, and terraform with them.
# Sourced, never run. Settings come from the environment, as `make deploy PROJECT=…` puts them:
#   PROJECT  the Google Cloud project's id (needed)      REGION  europe-west1 unless given
#   ENV      dev, staging or prod (dev unless given)     YES=1   no question before an apply
# shellcheck shell=sh

set -eu
umask 077

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
PROJECT=${PROJECT:-}
REGION=${REGION:-europe-west1}
ENV=${ENV:-dev}
TERRAFORM_DIR=${TERRAFORM_DIR:-$ROOT/infra/terraform}

say() { printf '\n== %s\n' "$*"; }

# 1: what was tried has failed. 2: nothing was tried, and the sentence says what to do.
fail() { printf 'deploy: %s\n' "$*" >&2; exit 1; }
refuse() { printf 'deploy: %s\n' "$*" >&2; exit 2; }

matches() { printf '%s\n' "$1" | LC_ALL=C grep -Eqx "$2"; }

check_settings() {
    [ -n "$PROJECT" ] || refuse "no project; say which: make deploy PROJECT=my-project"
    matches "$PROJECT" '[a-z][a-z0-9-]{4,28}[a-z0-9]' ||
        refuse "'$PROJECT' is no project id; list yours: gcloud projects list"
    matches "$REGION" '[a-z]+-[a-z]+[0-9]+' ||
        refuse "'$REGION' is no region; one is REGION=europe-west1"
    case $ENV in
    dev | staging | prod) ;;
    *) refuse "'$ENV' is no environment; choose ENV=dev, ENV=staging or ENV=prod" ;;
    esac
}

check_settings

IMAGE_NAME=$REGION-docker.pkg.dev/$PROJECT/audio-pipeline/extract-audio
STATE_BUCKET=$PROJECT-terraform-state
# One folder a project and environment, so that no step can meet another's plan or state.
WORK=${DEPLOY_DIR:-$ROOT/build/deploy}/$PROJECT-$ENV
mkdir -p "$WORK"

export TF_DATA_DIR="$WORK/terraform" TF_IN_AUTOMATION=1 TF_INPUT=0

# Whatever gcloud is logged in with serves Terraform too: one login, and no key in a file.
use_login() {
    if [ -z "${GOOGLE_OAUTH_ACCESS_TOKEN:-}${GOOGLE_APPLICATION_CREDENTIALS:-}" ]; then
        GOOGLE_OAUTH_ACCESS_TOKEN=$(gcloud auth print-access-token)
        export GOOGLE_OAUTH_ACCESS_TOKEN
    fi
}

tf() { terraform -chdir="$TERRAFORM_DIR" "$@"; }

# tf_with IMAGE COMMAND…: with the environment's variables; the last ones win over its file.
tf_with() {
    image=$1
    shift
    tf "$@" -var-file="environments/$ENV.tfvars" -var "project_id=$PROJECT" \
        -var "region=$REGION" -var "environment=$ENV" -var "image=$image"
}

# Digests and names pass from one step to the next in files, as steps may be processes apart.
keep() { printf '%s\n' "$2" >"$WORK/$1"; }
kept() {
    [ -f "$WORK/$1" ] || fail "no $1 was kept by an earlier step; run the whole of it: make deploy"
    cat "$WORK/$1"
}

# The image that the state says is deployed; empty when there is none. Read off the resources,
# not off an output: an apply that broke half-way may have written only the former.
deployed_image() {
    state=$(tf state pull) || fail "the state in gs://$STATE_BUCKET cannot be read"
    printf '%s\n' "$state" |
        sed -n "s|.*\"\($IMAGE_NAME@sha256:[0-9a-f]\{64\}\)\".*|\1|p" | tail -n 1
}
