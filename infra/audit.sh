#!/bin/sh
# Looks up known vulnerabilities of the locked packages: make audit
# pip-audit asks PyPI's and OSV's services. Where they cannot be reached, it reports that and succeeds,
# unless AUDIT=required, which the delivery pipeline sets.
set -eu
cd "$(dirname "$0")/.."

venv=.tools/audit
report=$venv/report.txt
if ! cmp -s infra/requirements/audit.txt "$venv/installed.txt"; then
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/python" -m pip install -qq --no-compile --disable-pip-version-check --require-hashes \
        --requirement infra/requirements/audit.txt
    cp infra/requirements/audit.txt "$venv/installed.txt"
fi

# --disable-pip: the file is complete, so nothing needs to be resolved or downloaded.
# --strict: a package that the service does not know was not audited, which must not pass as good.
if "$venv/bin/pip-audit" --strict --progress-spinner=off --disable-pip --require-hashes \
    --requirement "${1:-infra/requirements/setup.txt}" >"$report" 2>&1; then
    cat "$report"
    exit 0
fi
cat "$report" >&2
if grep -q '^Found ' "$report"; then
    echo "audit: raise the versions above in constraints.txt, then: make requirements" >&2
    exit 1
fi
[ "${AUDIT:-}" != required ] || exit 1
echo "audit: the vulnerability service could not be asked, so nothing was audited" >&2
