#!/bin/sh
# Checks that the deployed services work; --or-roll-back brings the earlier images back if not.
# SMOKE_SECONDS (300) is how long an answer may take to become right: an IAM grant takes minutes to
# spread, and the grants of a new service are all new.
# SMOKE_ACCOUNT names the service account to impersonate, for logins that cannot call a service
# themselves (Workload Identity Federation).
. "$(dirname "$0")/lib.sh"

deadline=$(($(date +%s) + ${SMOKE_SECONDS:-300}))
answer=$WORK/answer

# until_right COMMAND…: repeats it until it succeeds or time is up.
until_right() {
    until "$@"; do
        [ "$(date +%s)" -lt "$deadline" ] || return 1
        sleep 5
    done
}

address_of() {
    gcloud run services describe "$1" --project="$PROJECT" --region="$REGION" \
        '--format=value(status.url)'
}

# Cloud Run accepts a person's token for any address; a service account's must name the address.
identity_token() {
    account=$(gcloud config get-value account 2>/dev/null)
    case ${SMOKE_ACCOUNT:-}:$account in
    ?*:*) gcloud auth print-identity-token --impersonate-service-account="$SMOKE_ACCOUNT" \
        --audiences="$1" ;;
    *gserviceaccount.com) gcloud auth print-identity-token --audiences="$1" ;;
    *) gcloud auth print-identity-token ;;
    esac
}

# status_of ADDRESS [OPTION…]: the status of the answer, 000 for none; the body goes to a file.
status_of() {
    address=$1
    shift
    curl --silent --output "$answer" --write-out '%{http_code}' --max-time 60 "$@" "$address" ||
        true
}

# The token goes in by standard input, since every process can read a command line.
status_for_us() {
    printf 'header = "Authorization: Bearer %s"\n' "$token" | status_of "$1" --config -
}

extract_audio_is_healthy() {
    status=$(status_for_us "$extract/health")
    [ "$status" = 200 ] && grep -q '"status": *"ok"' "$answer" && return
    echo "extract_audio /health: $status $(cut -c 1-600 "$answer" 2>/dev/null)" >&2
    return 1
}

extract_audio_is_live() {
    status=$(status_for_us "$extract/live")
    [ "$status" = 200 ] && return
    echo "extract_audio /live: $status" >&2
    return 1
}

# Cloud Run's own check answers 403 too, so a forgery alone would not show that notify is public:
# only notify itself answers a GET with 405.
notify_is_public() {
    status=$(status_of "$notify")
    [ "$status" = 405 ] && return
    echo "notify: $status to a GET, not 405; is it public?" >&2
    return 1
}

# Anyone may post there, and only Drive's notifications are accepted.
notify_refuses_a_forgery() {
    status=$(status_of "$notify" --request POST --data '' \
        --header 'X-Goog-Channel-ID: smoke-test' --header 'X-Goog-Resource-State: change' \
        --header 'X-Goog-Resource-ID: none' --header 'X-Goog-Channel-Token: forged')
    [ "$status" = 403 ] && return
    echo "notify: $status to a forged notification, not 403" >&2
    return 1
}

last_requeue() {
    gcloud scheduler jobs describe requeue --project="$PROJECT" --location="$REGION" \
        '--format=csv[no-heading](lastAttemptTime,status.code)'
}

# By the job that uses only the tracker and the queues: the other one needs access to Drive, which
# is granted after the first deployment.
maintain_was_called() {
    now=$(last_requeue)
    [ "$now" != "$before" ] && [ "${now#*,}" = "" ] && return
    echo "maintain, by its job requeue: last attempt '$now'" >&2
    return 1
}

smoke() {
    extract=$(address_of extract-audio) && notify=$(address_of notify) || return 1
    token=$(identity_token "$extract") || return 1
    until_right extract_audio_is_healthy || return 1
    extract_audio_is_live || return 1
    until_right notify_is_public || return 1
    until_right notify_refuses_a_forgery || return 1
    before=$(last_requeue) || return 1
    gcloud scheduler jobs run requeue --project="$PROJECT" --location="$REGION" || return 1
    until_right maintain_was_called || return 1
}

say "Smoke test"
if smoke; then
    echo "extract_audio, notify and maintain answer as they should."
    exit 0
fi
[ "${1:-}" = --or-roll-back ] || fail "the smoke test failed"
echo "deploy: the smoke test failed" >&2
exec "$ROOT/infra/deploy/roll_back.sh"
