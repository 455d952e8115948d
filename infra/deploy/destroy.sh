#!/bin/sh
# Destroys an environment: shows what will be deleted, asks for the project's id, and deletes just
# that. Protected environments refuse in the plan, before anything is deleted.
. "$(dirname "$0")/lib.sh"

explain() {
    guards=$(tf state list | grep '\.guard' || true)
    [ -n "$guards" ] || fail "the plan failed; nothing was deleted"
    cat >&2 <<END

deploy: $PROJECT ($ENV) is protected; nothing was deleted. To remove the protection, on purpose:
  PROJECT=$PROJECT ENV=$ENV REGION=$REGION infra/deploy/terraform.sh state rm '$guards'
  make destroy PROJECT=$PROJECT ENV=$ENV REGION=$REGION PROTECTED=false
END
    exit 1
}

confirm() {
    printf '\nThis deletes the recordings too, forever. Type the project id to continue: '
    read -r answer || answer=
    [ "$answer" = "$PROJECT" ] || fail "not confirmed; nothing was deleted"
}

plan_destroy() {
    tf_with "$previous" "$previous_web" plan -destroy -out="$plan" \
        ${PROTECTED:+-var "protected=$PROTECTED"}
}

# A protected bucket cannot be deleted with its content until an apply has changed that.
unprotect() {
    tf_with "$previous" "$previous_web" apply -auto-approve -var "protected=$PROTECTED"
    plan_destroy
}

"$ROOT/infra/deploy/check.sh"
"$ROOT/infra/deploy/init.sh"
use_login
previous=$(kept previous)
previous_web=$(kept previous-web)
plan=$WORK/destroy.tfplan
trap 'rm -f "$plan"' EXIT
say "What will be deleted"
plan_destroy || explain
confirm
[ "${PROTECTED:-}" != false ] || unprotect
tf apply "$plan" || fail "not everything could be deleted; run it again"
say "Deleted. What stays: gs://$STATE_BUCKET with the state's versions, and the enabled APIs."
