#!/bin/sh
# Takes an environment down: shows what goes, asks for the project's id, and deletes just that.
# What production guards itself with refuses at the plan, before anything is deleted.
. "$(dirname "$0")/lib.sh"

guards() { tf state list | grep '\.guard' || true; }

explain() {
    guards=$(guards)
    [ -n "$guards" ] || fail "no plan could be made; nothing was deleted"
    cat >&2 <<END

deploy: $PROJECT ($ENV) is protected; nothing was deleted. To lift that, on purpose:
  TF_DATA_DIR='$TF_DATA_DIR' terraform -chdir='$TERRAFORM_DIR' state rm '$guards'
  make destroy PROJECT=$PROJECT ENV=$ENV PROTECTED=false
END
    exit 1
}

confirm() {
    printf '\nThis deletes the recordings too, for good. Type the project id to go on: '
    read -r answer || answer=
    [ "$answer" = "$PROJECT" ] || fail "not confirmed; nothing was deleted"
}

plan_destroy() {
    tf_with "$previous" plan -destroy -out="$plan" ${PROTECTED:+-var "protected=$PROTECTED"}
}

# A protected bucket refuses to go with what is in it, until an apply has told it otherwise.
unprotect() {
    tf_with "$previous" apply -auto-approve -var "protected=$PROTECTED"
    plan_destroy
}

"$ROOT/infra/deploy/check.sh"
"$ROOT/infra/deploy/init.sh"
use_login
previous=$(kept previous)
plan=$WORK/destroy.tfplan
trap 'rm -f "$plan"' EXIT
say "What goes"
plan_destroy || explain
confirm
[ "${PROTECTED:-}" != false ] || unprotect
tf apply "$plan" || fail "not all could be deleted; run it again"
say "Gone. What stays: gs://$STATE_BUCKET with the state's versions, and the enabled APIs."
