#!/bin/sh
# Plans with the image that was built (or --without-image), shows the plan and saves it.
. "$(dirname "$0")/lib.sh"

use_login
image=
[ "${1:-}" = --without-image ] || image=$(kept image)
rm -f "$WORK/changes.tfplan"
say "The plan"
status=0
tf_with "$image" plan -detailed-exitcode -out="$WORK/changes.tfplan" || status=$?
case $status in
0) rm -f "$WORK/changes.tfplan" && echo "Nothing to change." ;;
2) ;;
*) fail "no plan could be made; nothing was changed" ;;
esac
