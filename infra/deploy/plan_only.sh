#!/bin/sh
# Shows what a deployment would change, with the images that run now: make plan PROJECT=my-project
. "$(dirname "$0")/lib.sh"

"$ROOT/infra/deploy/check.sh"
"$ROOT/infra/deploy/init.sh"
"$ROOT/infra/deploy/plan.sh" --deployed
rm -f "$WORK/changes.tfplan" # it contains the values of all variables
