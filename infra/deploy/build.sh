#!/bin/sh
# The image of extract_audio, built by Cloud Build unless the registry has one of these sources.
# Keeps its name with the digest that the registry gives; a tag may be moved, a digest may not.
# REBUILD=1 builds anyway: the base image and the packages' patches are not among the sources.
. "$(dirname "$0")/lib.sh"

sha256() { if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi; }

# What .dockerignore lets in is what the image is made of.
sources() {
    sed -n 's/^!//p' "$ROOT/.dockerignore" | (cd "$ROOT" && while read -r path; do
        find "$path" -type f ! -name '*.pyc' ! -path '*/__pycache__/*'
    done) | LC_ALL=C sort
}

hash_of_sources() {
    sources | (cd "$ROOT" && while read -r path; do
        printf '%s ' "$path"
        sha256 <"$path"
    done) | sha256 | cut -c 1-16
}

# The newest that was built of these sources. The list is asked and not the tag described: that
# fails alike for an image which is missing and for a registry which may not be read.
digest_of() {
    found=$(gcloud artifacts docker images list "$IMAGE_NAME" --include-tags \
        --filter="tags~^$1" '--format=csv[no-heading](createTime,version)' --project="$PROJECT")
    printf '%s\n' "$found" | LC_ALL=C sort | tail -n 1 | cut -d , -f 2
}

build() {
    gcloud builds submit "$ROOT" --project="$PROJECT" --region="$REGION" \
        --config="$ROOT/infra/deploy/image.yaml" \
        --ignore-file="$ROOT/.gcloudignore" \
        --substitutions="_IMAGE=$IMAGE_NAME:$1" \
        --service-account="projects/$PROJECT/serviceAccounts/audio-build@$PROJECT.iam.gserviceaccount.com" \
        --gcs-source-staging-dir="gs://$PROJECT-functions-source/image"
}

tag=src-$(hash_of_sources)
digest=
[ -n "${REBUILD:-}" ] || digest=$(digest_of "$tag")
if [ -n "$digest" ]; then
    say "The registry has these sources' image already: $tag"
else
    say "Building $tag"
    # Tags cannot be moved in this registry, so that each build has one of its own.
    build "$tag-$(date -u +%Y%m%d%H%M%S)"
    digest=$(digest_of "$tag")
fi
matches "$digest" 'sha256:[0-9a-f]{64}' || fail "the registry has no digest for $IMAGE_NAME:$tag-…"
keep image "$IMAGE_NAME@$digest"
