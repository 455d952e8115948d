#!/bin/sh
# Plans with the images that were built (or --without-images, or --deployed for those that run now),
# shows the plan and saves it.
. "$(dirname "$0")/lib.sh"

use_login
case ${1:-} in
--without-images) image='' web_image='' ;;
--deployed) image=$(kept previous) web_image=$(kept previous-web) ;;
*) image=$(kept image) web_image=$(kept web-image) ;;
esac
rm -f "$WORK/changes.tfplan"
keep planned "${1:-}"
say "The plan"
status=0
tf_with "$image" "$web_image" plan -detailed-exitcode -out="$WORK/changes.tfplan" || status=$?
case $status in
0) rm -f "$WORK/changes.tfplan" && echo "Nothing to change." ;;
2) ;;
*) fail "the plan failed; nothing was changed" ;;
esac
