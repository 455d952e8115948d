#!/bin/sh
# Applies again with the images that were deployed before. Always exits with 1, since a deployment
# that was rolled back has failed.
. "$(dirname "$0")/lib.sh"

previous=$(kept previous)
previous_web=$(kept previous-web)
[ -n "$previous" ] || fail "there is no earlier image to roll back to, so the applied one stays; \
fix the error above and deploy again"
say "ROLLING BACK to $previous"
use_login
tf_with "$previous" "$previous_web" apply -auto-approve ||
    fail "the roll back failed too, and the deployment is in between; see docs/operations.md"
fail "rolled back: $previous runs again, everything else is from the new code"
