#!/bin/sh
# What .ci/run checks, in the steps and on the images of cloudbuild.yaml: emulator, lint, audit, test.
set -eu
cd "$(dirname "$0")/../.."

case ${1:-} in
emulator)
    # Where tests/tools.sh looks for it; statically linked, since the tests run on another image.
    CGO_ENABLED=0 GOBIN="$PWD/.tools/bin" go install "$(sed -n 's/^FAKE_GCS := //p' Makefile)"
    ;;
lint)
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends make python3-venv shellcheck >/dev/null
    make lint types
    ;;
audit)
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends make python3-venv >/dev/null
    AUDIT=required make audit
    ;;
test)
    # Each step starts from its image, so another step's packages are gone.
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends make python3-venv shellcheck >/dev/null
    make test-tools test
    ;;
*)
    echo "checks.sh: emulator, lint, audit or test" >&2
    exit 2
    ;;
esac
