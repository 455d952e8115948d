#!/bin/sh
# Applies again with the image that was deployed before. Always exits 1: a deployment that had to
# be rolled back is one that failed.
. "$(dirname "$0")/lib.sh"

previous=$(kept previous)
[ -n "$previous" ] || fail "there is no earlier image to go back to, so what was applied stays; \
mend it and deploy again"
say "ROLLING BACK to $previous"
use_login
tf_with "$previous" apply -auto-approve ||
    fail "and rolling back failed: the deployment is in between; see docs/operations.md"
fail "rolled back: $previous runs again, the rest is as in the new code"
