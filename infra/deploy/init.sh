#!/bin/sh
# Terraform on the project's own state; keeps which image is deployed now, to go back to.
. "$(dirname "$0")/lib.sh"

use_login
say "Terraform: $ENV of $PROJECT"
tf init -reconfigure -backend-config="bucket=$STATE_BUCKET" -backend-config=prefix=audio-pipeline
# Kept on its own first: within another command's arguments a failure would go unseen, and an
# empty answer means a project without a service.
previous=$(deployed_image)
keep previous "$previous"
