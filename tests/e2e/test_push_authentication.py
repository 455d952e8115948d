"""Pushes to the deployed services with PUSH_AUDIENCE set: real tokens and a server of keys."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.service.push_auth import SIGNATURE_REMOVED
from tests import signing
from tests.paths import ROOT
from tests.services import BIN, Answer, Cloud, Service, ask, envelope, start_function
from tests.signing import Keys

AUDIENCE = "https://extract-audio-1.europe-west1.run.app"
ACCOUNT = "audio-push@my-project.iam.gserviceaccount.com"
REFUSED = "audio_extract_pushes_refused_total"
REJECTED = "audio_extract_messages_rejected_total"
POISON = envelope(b"not a message")


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def variables(keys: Keys) -> Iterator[dict[str, str]]:
    keys.add("ours")
    with keys.page() as url:
        yield {"PUSH_AUDIENCE": AUDIENCE, "PUSH_ACCOUNT": ACCOUNT, "PUSH_KEYS_URL": url}


def bearer(keys: Keys, **changes: Any) -> dict[str, str]:
    claims = {
        "iss": "https://accounts.google.com",
        "aud": AUDIENCE,
        "email": ACCOUNT,
        "email_verified": True,
        **changes,
    }
    return {"Authorization": f"Bearer {signing.token(keys.add('newest'), claims)}"}


def post(service: Service, headers: dict[str, str], path: str = "/") -> Answer:
    return ask(f"{service.url}{path}", POISON, headers=headers)


@pytest.mark.parametrize("path", ["/", "/dead-letter"])
def test_only_the_subscription_may_push(
    cloud: Cloud, keys: Keys, variables: dict[str, str], path: str
) -> None:
    good = bearer(keys)
    forged = [{}, bearer(Keys()), {"Authorization": "Bearer " + "x" * 5000}]
    with cloud.service(None, **variables) as service:
        for headers in forged:
            assert post(service, headers, path).status == 401
        assert service.metric(f'{REFUSED}{{status="401"}}') == len(forged)
        assert service.metric(REJECTED) == 0
        assert "not a message" not in service.log
        assert post(service, good, path).status == 204
        assert service.metric(REJECTED) == 1
        assert service.get("/live").status == 200


def test_another_account_is_refused(cloud: Cloud, keys: Keys, variables: dict[str, str]) -> None:
    other = bearer(keys, email="another@my-project.iam.gserviceaccount.com")
    with cloud.service(None, **variables) as service:
        assert post(service, other).status == 403
        assert service.metric(REJECTED) == 0


def test_keys_out_of_reach_mean_try_again(cloud: Cloud, keys: Keys) -> None:
    variables = {
        "PUSH_AUDIENCE": AUDIENCE,
        "PUSH_ACCOUNT": ACCOUNT,
        "PUSH_KEYS_URL": "http://127.0.0.1:9/keys",
    }
    with cloud.service(None, **variables) as service:
        assert post(service, bearer(keys)).status == 503
        assert service.metric(REJECTED) == 0


def test_cloud_run_removes_the_signature(
    cloud: Cloud, keys: Keys, variables: dict[str, str]
) -> None:
    header = bearer(keys)["Authorization"]
    stripped = {"Authorization": f"{header.rpartition('.')[0]}.{SIGNATURE_REMOVED}"}
    with cloud.service(None, **variables) as service:
        assert post(service, stripped).status == 401
    with cloud.service(None, **variables, K_SERVICE="extract-audio") as service:
        assert post(service, stripped).status == 204


def test_compress_checks_them_too(tmp_path: Path, keys: Keys, variables: dict[str, str]) -> None:
    good = bearer(keys)
    env = {
        "PATH": "/usr/bin:/bin",
        "TRACKER_URL": f"sqlite:///{tmp_path}/tracker.db",
        "STORAGE_URL": str(tmp_path / "audio"),
        "LOG_FORMAT": "json",
        **variables,
    }
    service = start_function(
        "sftp_compress",
        "compress",
        directory=tmp_path,
        env=env,
        is_up=lambda service: service.get("/").status == 405,
    )
    try:
        assert post(service, {}).status == 401
        assert "not a message" not in service.log
        assert post(service, good).status == 204
        assert "not a message" in service.log
    finally:
        service.close()


@pytest.mark.parametrize("function", ["extract_audio", "sftp_compress"])
@pytest.mark.parametrize(
    ("name", "missing"), [("PUSH_AUDIENCE", "PUSH_ACCOUNT"), ("PUSH_ACCOUNT", "PUSH_AUDIENCE")]
)
def test_half_a_setting_does_not_start(function: str, name: str, missing: str) -> None:
    target = {"extract_audio": "extract_audio", "sftp_compress": "compress"}[function]
    command = [str(BIN / "functions-framework"), "--port=0", f"--target={target}"]
    run = subprocess.run(
        [*command, f"--source=functions/{function}/main.py"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", name: "a@b"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode != 0
    assert f"{missing} is not set" in run.stderr
