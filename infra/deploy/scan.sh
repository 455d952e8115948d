#!/bin/sh
# Asks Artifact Analysis for the image's known vulnerabilities; a critical one that a newer
# package has mended stops the deployment. SCAN=off deploys without asking: for a fix that is
# more urgent than the hole.
. "$(dirname "$0")/lib.sh"

image=$(kept image)
if [ "${SCAN:-on}" = off ]; then
    say "NOT scanned, as SCAN=off: $image"
    exit 0
fi

# Scans are kept on a continent, that of the region.
case $REGION in
europe-*) continent=europe ;;
asia-* | australia-*) continent=asia ;;
*) continent=us ;;
esac

say "Scanning $image"
scan=$(gcloud artifacts docker images scan "$image" --remote --location="$continent" \
    --project="$PROJECT" '--format=value(response.scan)')
[ -n "$scan" ] || fail "the scan of $image gave no result"
# Filtered here: this list of gcloud has no filter.
list=$(gcloud artifacts docker images list-vulnerabilities "$scan" --project="$PROJECT" \
    --format='csv[no-heading](vulnerability.effectiveSeverity,vulnerability.fixAvailable,noteName)')
found=$(printf '%s\n' "$list" | sed -n 's|^CRITICAL,True,.*/||p')
if [ -n "$found" ]; then
    printf '%s\n' "$found" >&2
    fail "critical, and mended in a newer package: build it anew (REBUILD=1), or raise the \
version in constraints.txt; SCAN=off deploys all the same"
fi
