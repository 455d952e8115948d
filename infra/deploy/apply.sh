#!/bin/sh
# Applies exactly the plan that was shown, after a yes (YES=1 and CI=true stand for it).
# With --or-roll-back, a failure brings the image that was deployed before back.
. "$(dirname "$0")/lib.sh"

confirm() {
    if [ "${YES:-}" = 1 ] || [ "${CI:-}" = true ]; then return; fi
    printf '\nApply this plan to %s (%s)? Type yes: ' "$PROJECT" "$ENV"
    read -r answer || answer=
    [ "$answer" = yes ] || fail "not applied; nothing was changed by this plan"
}

if ! [ -f "$WORK/changes.tfplan" ]; then
    echo "Nothing to apply."
    exit 0
fi
confirm
use_login
status=0
tf apply "$WORK/changes.tfplan" || status=$?
# A plan is good for one apply, and holds the values of all variables.
rm -f "$WORK/changes.tfplan"
[ "$status" = 0 ] && exit 0
[ "${1:-}" = --or-roll-back ] || fail "the apply failed; mend what it names, and deploy again"
echo "deploy: the apply failed" >&2
exec "$ROOT/infra/deploy/roll_back.sh"
