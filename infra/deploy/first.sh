#!/bin/sh
# The first time only: applies everything except what runs code, since the images' registry comes
# from this apply.
. "$(dirname "$0")/lib.sh"

[ -z "$(kept previous)" ] || exit 0
say "First apply: everything except what runs code"
"$ROOT/infra/deploy/plan.sh" --without-images
"$ROOT/infra/deploy/apply.sh"
# As the provider's own example for functions waits: a build that starts right after the grants of
# its account fails. GRANT_SECONDS=60 is how long they take.
say "Waiting ${GRANT_SECONDS:-60} s for the new grants to take effect"
sleep "${GRANT_SECONDS:-60}"
