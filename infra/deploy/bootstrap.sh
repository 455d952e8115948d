#!/bin/sh
# What Terraform needs before it can run: three APIs, Google's own accounts, the state's bucket.
# Each part looks before it makes, so that a second run changes nothing.
. "$(dirname "$0")/lib.sh"

# Terraform enables the others by these: it asks serviceusage to, resource manager who it is.
BEFORE_TERRAFORM="serviceusage.googleapis.com cloudresourcemanager.googleapis.com \
cloudbilling.googleapis.com"
# Google makes these accounts late, and a grant to one that is not there yet is refused. Pub/Sub's
# forwards dead letters; the others encrypt, with a key of yours.
AGENTS=pubsub.googleapis.com
if grep -Eq '^ *kms_key_name *= *"projects/' "$TERRAFORM_DIR/environments/$ENV.tfvars"; then
    encrypting=true
    for service in artifactregistry cloudfunctions firestore run secretmanager; do
        AGENTS="$AGENTS $service.googleapis.com"
    done
fi
# The bucket, the scan of the image, and the accounts.
APIS="$BEFORE_TERRAFORM storage.googleapis.com ondemandscanning.googleapis.com $AGENTS"

enable_apis() {
    # shellcheck disable=SC2086 # one word an API
    gcloud services enable $APIS --project="$PROJECT"
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
    if [ -n "${encrypting:-}" ]; then
        gcloud storage service-agent --project="$PROJECT"
    fi
}

# Listed rather than described: a bucket that is missing and one that may not be seen look alike
# to `describe`, and only the first is to be made.
make_state_bucket() {
    found=$(gcloud storage buckets list --project="$PROJECT" --filter="name=$STATE_BUCKET" \
        '--format=csv[no-heading](name,versioning_enabled)')
    if [ -z "$found" ]; then
        gcloud storage buckets create "gs://$STATE_BUCKET" --project="$PROJECT" \
            --location="$REGION" --uniform-bucket-level-access --public-access-prevention
    fi
    # Apart from its making: a run that ended between the two would leave it off for ever.
    [ "$found" = "$STATE_BUCKET,True" ] ||
        gcloud storage buckets update "gs://$STATE_BUCKET" --versioning
}

say "Enabling the APIs that come before Terraform in $PROJECT"
enable_apis
check_billing
say "Google's own accounts"
create_agents
say "The bucket of Terraform's state: $STATE_BUCKET"
make_state_bucket
