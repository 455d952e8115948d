#!/bin/sh
# What Terraform needs before it can run: the APIs, Google's service agents, the state's bucket.
# Each part checks before it creates anything, so a second run changes nothing.
. "$(dirname "$0")/lib.sh"

# Terraform needs these itself; the bucket and the scan of the image need the last two.
BEFORE_TERRAFORM="serviceusage.googleapis.com cloudresourcemanager.googleapis.com \
cloudbilling.googleapis.com storage.googleapis.com ondemandscanning.googleapis.com"
# Google creates these agents late, and refuses a grant to one that does not exist. Pub/Sub's moves
# dead letters, IAP's calls the dashboard; the others encrypt with your own key.
AGENTS="iap.googleapis.com pubsub.googleapis.com"
encrypting=
if [ -n "$(setting kms_key_name)" ]; then
    encrypting=true
    for service in artifactregistry cloudfunctions firestore run secretmanager; do
        AGENTS="$AGENTS $service.googleapis.com"
    done
fi

# The APIs that the configuration always uses. Terraform would enable them too, but an API answers
# only some time after it is enabled, and this way that time starts now.
terraform_apis() {
    sed -n 's/^ *"\([a-z]*\.googleapis\.com\)",*$/\1/p' "$TERRAFORM_DIR/apis.json"
}

# At most 20 in one call (serviceusage's batchEnable).
enable_apis() {
    # shellcheck disable=SC2086 # one word for each API
    gcloud services enable $BEFORE_TERRAFORM $AGENTS --project="$PROJECT"
    # shellcheck disable=SC2046
    gcloud services enable $(terraform_apis) --project="$PROJECT"
}

check_billing() {
    enabled=$(gcloud billing projects describe "$PROJECT" '--format=value(billingEnabled)')
    [ "$enabled" = True ] || refuse "$PROJECT has no billing account; link one: \
https://console.cloud.google.com/billing/linkedaccount?project=$PROJECT"
}

create_agents() {
    for service in $AGENTS; do
        gcloud beta services identity create --service="$service" --project="$PROJECT"
    done
    if [ -n "$encrypting" ]; then
        gcloud storage service-agent --project="$PROJECT"
    fi
}

# Listed, not described: `describe` fails alike for a bucket that is missing and for one that must
# not be seen. The filter may match longer names too, so the name is compared again.
make_state_bucket() {
    listed=$(gcloud storage buckets list --project="$PROJECT" --filter="name=$STATE_BUCKET" \
        '--format=csv[no-heading](name,versioning_enabled)')
    found=$(printf '%s\n' "$listed" | grep "^$STATE_BUCKET," || true)
    if [ -z "$found" ]; then
        gcloud storage buckets create "gs://$STATE_BUCKET" --project="$PROJECT" \
            --location="$REGION" --uniform-bucket-level-access --public-access-prevention
    fi
    # Not part of the creation: a run that stopped between the two would leave it off forever.
    [ "$found" = "$STATE_BUCKET,True" ] ||
        gcloud storage buckets update "gs://$STATE_BUCKET" --versioning
}

say "Enabling APIs in $PROJECT"
enable_apis
check_billing
say "Google's service agents"
create_agents
say "The bucket of Terraform's state: $STATE_BUCKET"
make_state_bucket
