#!/bin/sh
# Installs the tools that the tests need beyond Python and that are missing. Called by `make test-tools`.
# A tool that cannot be installed is reported, and its tests skip; with CI=true that is an error.
set -u
fake_gcs=$1
bin=$2
checkov=$3
failed=0

missing() {
    echo "test-tools: $1" >&2
    failed=1
}

has() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }

packages=
has sshd || packages="$packages openssh-server"
has chromium || has google-chrome || packages="$packages chromium"
has java || packages="$packages default-jre-headless"
has cc || packages="$packages gcc libc6-dev"
has shellcheck || packages="$packages shellcheck"
if [ -n "$packages" ]; then
    as_root=
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    # shellcheck disable=SC2086
    { has apt-get && $as_root apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq -y --no-install-recommends \
            $packages >/dev/null; } || missing "could not install$packages with apt-get"
fi

# What the browser's tests use: they drive the system's own Chromium.
playwright="playwright-core@1.65.1"
axe="axe-core@4.14.1"
browser=$bin/../browser
if ! [ -d "$browser/node_modules/axe-core" ]; then
    if has npm; then
        npm install --silent --no-fund --no-audit --prefix "$browser" "$playwright" "$axe" ||
            missing "could not install $playwright and $axe with npm"
    else
        missing "Node.js is not installed, which the browser's tests need: https://nodejs.org/"
    fi
fi

if ! [ -x "$bin/fake-gcs-server" ]; then
    if has go; then
        GOBIN=$bin go install "$fake_gcs" || missing "could not build fake-gcs-server"
    else
        missing "Go is missing, which builds fake-gcs-server: https://go.dev/dl/"
    fi
fi

# Unpacked, not installed: the installed package starts a server.
if ! has promtool && ! [ -x "$bin/promtool" ]; then
    package=$(mktemp -d)
    { (cd "$package" && apt-get download -qq prometheus && dpkg -x prometheus_*.deb .) &&
        mkdir -p "$bin" && cp "$package/usr/bin/promtool" "$bin/"; } ||
        missing "could not get promtool: https://prometheus.io/download/"
    rm -rf "$package"
fi

# In its own virtual environment, since it pins versions of packages that we use too.
if ! [ -x "$bin/checkov" ]; then
    { ${PYTHON:-python3} -m venv "$bin/../checkov" &&
        "$bin/../checkov/bin/pip" install -q --no-compile --disable-pip-version-check "$checkov" &&
        mkdir -p "$bin" && ln -sf ../checkov/bin/checkov "$bin/checkov"; } ||
        missing "could not install $checkov with pip"
fi

if has gcloud; then
    platform=$(dirname "$(dirname "$(readlink -f "$(command -v gcloud)")")")/platform
    for emulator in cloud-firestore-emulator pubsub-emulator; do
        [ -d "$platform/$emulator" ] ||
            gcloud components install --quiet "$emulator" ||
            missing "could not install gcloud's $emulator"
    done
else
    missing "gcloud is missing, which has the emulators: https://cloud.google.com/sdk/docs/install"
fi

[ "$failed" = 0 ] || [ "${CI:-}" != true ]
