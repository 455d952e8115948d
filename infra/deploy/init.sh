#!/bin/sh
# Initialises Terraform on the project's state, and keeps the images that are deployed now, to roll
# back to.
. "$(dirname "$0")/lib.sh"

use_login
say "Terraform: $ENV of $PROJECT"
tf init -reconfigure -backend-config="bucket=$STATE_BUCKET" -backend-config=prefix=audio-pipeline
state=$(read_state)
existing=$(deployed_environment "$state")
# ENV=dev is the default: without this check a forgotten ENV would rebuild production as dev.
if [ -n "$existing" ] && [ "$existing" != "$ENV" ]; then
    refuse "$PROJECT contains $existing, not $ENV; use ENV=$existing, or another project"
fi
# Both or neither: a first deployment that broke half-way counts as none.
extract=$(deployed_image "$state" extract-audio)
web=$(deployed_image "$state" web)
if [ -z "$extract" ] || [ -z "$web" ]; then extract='' web=''; fi
keep previous "$extract"
keep previous-web "$web"
