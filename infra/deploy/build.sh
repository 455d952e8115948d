#!/bin/sh
# Builds the two images with Cloud Build, unless the registry has images of these sources.
# Keeps their names with the digests from the registry, since a tag can be moved.
# REBUILD=1 builds anyway: the base image and the packages' patches are not part of the sources.
. "$(dirname "$0")/lib.sh"

if command -v sha256sum >/dev/null 2>&1; then sha256=sha256sum; else sha256='shasum -a 256'; fi

# What .dockerignore lets in is what the images are built from.
sources() {
    sed -n 's/^!//p' "$ROOT/.dockerignore" | (cd "$ROOT" && while read -r path; do
        find "$path" -type f ! -name '*.pyc' ! -path '*/__pycache__/*'
    done) | LC_ALL=C sort
}

hash_of_sources() {
    # shellcheck disable=SC2086 # a program and its options
    sources | (cd "$ROOT" && tr '\n' '\0' | xargs -0 $sha256) | $sha256 | cut -c 1-16
}

# digest_of NAME TAG: empty when there is none. Listed, not described: `describe` fails alike for an
# image that is missing and for a registry that must not be read.
digest_of() {
    found=$(gcloud artifacts docker images list "$REGISTRY/$1" --include-tags \
        --filter="tags~^$2\$" '--format=csv[no-heading](createTime,version)' --project="$PROJECT") ||
        fail "the registry $REGISTRY cannot be read"
    printf '%s\n' "$found" | LC_ALL=C sort | tail -n 1 | cut -d , -f 2
}

# Only gcloud beta shows the log of a build that logs to Cloud Logging alone.
build() {
    gcloud beta builds submit "$ROOT" --project="$PROJECT" --region="$REGION" \
        --config="$ROOT/infra/deploy/image.yaml" \
        --ignore-file="$ROOT/.gcloudignore" \
        --substitutions="_REGISTRY=$REGISTRY,_TAG=$1" \
        --service-account="projects/$PROJECT/serviceAccounts/audio-build@$PROJECT.iam.gserviceaccount.com" \
        --gcs-source-staging-dir="gs://$PROJECT-functions-source/image"
}

find_digests() {
    extract=$(digest_of extract-audio "$tag") || exit 1
    web=$(digest_of web "$tag") || exit 1
}

tag=src-$(hash_of_sources)
extract='' web=''
[ -n "${REBUILD:-}" ] || find_digests
if [ -n "$extract" ] && [ -n "$web" ]; then
    say "The registry already has images of these sources: $tag"
else
    say "Building $tag"
    build "$tag"
    find_digests
fi
for digest in "$extract" "$web"; do
    matches "$digest" 'sha256:[0-9a-f]{64}' || fail "the registry has no digest for $tag"
done
keep image "$REGISTRY/extract-audio@$extract"
keep web-image "$REGISTRY/web@$web"
