#!/bin/sh
# Deploys, the first time and every other time: make deploy PROJECT=my-project ENV=dev
. "$(dirname "$0")/lib.sh"

step() { "$ROOT/infra/deploy/$1.sh" ${2:+"$2"}; }

step check
step bootstrap
step init
step first
step build
step scan
step plan
step apply --or-roll-back
step smoke --or-roll-back
say "Deployed: $(kept image) $(kept web-image)"
step outputs
