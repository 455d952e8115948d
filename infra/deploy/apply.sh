#!/bin/sh
# Applies exactly the plan that was shown, after a yes (YES=1 or CI=true answers it).
# With --or-roll-back, a failure brings back the images that were deployed before.
. "$(dirname "$0")/lib.sh"

confirm() {
    if [ "${YES:-}" = 1 ] || [ "${CI:-}" = true ]; then return; fi
    printf '\nApply this plan to %s (%s)? Type yes: ' "$PROJECT" "$ENV"
    read -r answer || answer=
    [ "$answer" = yes ] || fail "not applied; nothing was changed by this plan"
}

apply() {
    use_login
    status=0
    tf apply "$WORK/changes.tfplan" || status=$?
    # A plan can be applied only once, and contains the values of all variables.
    rm -f "$WORK/changes.tfplan"
    return "$status"
}

if ! [ -f "$WORK/changes.tfplan" ]; then
    echo "Nothing to apply."
    exit 0
fi
confirm
apply && exit 0
if [ -n "$(kept previous)" ] && [ "${1:-}" = --or-roll-back ]; then
    echo "deploy: the apply failed" >&2
    exec "$ROOT/infra/deploy/roll_back.sh"
fi
[ -z "$(kept previous)" ] || fail "the apply failed; fix the error above, and deploy again"

# In a new project a first apply can fail only because Google is not ready: APIs, grants and service
# agents take effect minutes after they are created. So it plans and applies what is left, up to
# three times in all. Later deployments get no second try: there a failure is a failure.
for attempt in 2 3; do
    say "Attempt $attempt of 3, in ${RETRY_SECONDS:-60} s: a new project may not be ready yet"
    sleep "${RETRY_SECONDS:-60}"
    "$ROOT/infra/deploy/plan.sh" "$(kept planned)"
    [ -f "$WORK/changes.tfplan" ] || exit 0
    apply && exit 0
done
fail "the first apply failed three times; fix the error above, and deploy again"
