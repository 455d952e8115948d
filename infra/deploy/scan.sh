#!/bin/sh
# Asks Artifact Analysis for the images' known vulnerabilities. A critical one that a newer package
# fixes stops the deployment. SCAN=off deploys without asking, for a fix that is more urgent.
. "$(dirname "$0")/lib.sh"

if [ "${SCAN:-on}" = off ]; then
    say "NOT scanned, as SCAN=off: $(kept image) $(kept web-image)"
    exit 0
fi

# Scans are stored on the region's continent.
case $REGION in
europe-*) continent=europe ;;
asia-* | australia-*) continent=asia ;;
*) continent=us ;;
esac

scan() {
    say "Scanning $1"
    result=$(gcloud artifacts docker images scan "$1" --remote --location="$continent" \
        --project="$PROJECT" '--format=value(response.scan)')
    [ -n "$result" ] || fail "the scan of $1 gave no result"
    # Filtered here, since this list of gcloud has no filter.
    list=$(gcloud artifacts docker images list-vulnerabilities "$result" --project="$PROJECT" \
        --format='csv[no-heading](vulnerability.effectiveSeverity,vulnerability.fixAvailable,noteName)')
    found=$(printf '%s\n' "$list" | sed -n 's|^CRITICAL,True,.*/||p')
    if [ -n "$found" ]; then
        printf '%s\n' "$found" >&2
        fail "critical, and fixed in a newer package: build again (REBUILD=1), or raise the \
version in constraints.txt; SCAN=off deploys anyway"
    fi
}

scan "$(kept image)"
scan "$(kept web-image)"
