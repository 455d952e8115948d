"""Who may push, with real key pairs and a server of public keys."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest
from google.auth import crypt

from shared.service import signed_tokens
from shared.service.push_auth import SIGNATURE_REMOVED, PushAuthenticator
from tests import signing
from tests.signing import Keys

AUDIENCE = "https://extract-audio-1.europe-west1.run.app"
ACCOUNT = "audio-push@my-project.iam.gserviceaccount.com"


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def address(keys: Keys) -> Iterator[str]:
    with keys.page() as url:
        yield url


def authenticator(address: str, *, on_cloud_run: bool = False) -> PushAuthenticator:
    return PushAuthenticator(AUDIENCE, ACCOUNT, on_cloud_run=on_cloud_run, keys_url=address)


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a push, as Pub/Sub's documentation lists them."""
    return {
        "aud": AUDIENCE,
        "azp": "113774264463038321964",
        "email": ACCOUNT,
        "email_verified": True,
        "iss": "https://accounts.google.com",
        "sub": "113774264463038321964",
        **changes,
    }


def bearer(signer: crypt.Signer, **changes: Any) -> str:
    return f"Bearer {signing.token(signer, claims(**changes))}"


def stripped(header: str) -> str:
    """Replace the signature as Cloud Run does."""
    return header.rpartition(".")[0] + f".{SIGNATURE_REMOVED}"


def test_a_push_is_accepted_and_the_keys_are_kept(keys: Keys, address: str) -> None:
    signer = keys.add("one")
    checked = authenticator(address)
    assert checked.refusal(bearer(signer)) is None
    assert checked.refusal(bearer(signer, iss="accounts.google.com")) is None
    assert keys.asked == 1


OTHERS: list[tuple[dict[str, Any], HTTPStatus]] = [
    ({"aud": "https://another.run.app"}, HTTPStatus.UNAUTHORIZED),
    ({"iss": "https://evil.example.com"}, HTTPStatus.UNAUTHORIZED),
    ({"iat": 1_600_000_000, "exp": 1_600_003_600}, HTTPStatus.UNAUTHORIZED),
    ({"iat": 4_000_000_000, "exp": 4_000_003_600}, HTTPStatus.UNAUTHORIZED),
    ({"exp": "tomorrow"}, HTTPStatus.UNAUTHORIZED),
    ({"email": "someone@my-project.iam.gserviceaccount.com"}, HTTPStatus.FORBIDDEN),
    ({"email": None}, HTTPStatus.FORBIDDEN),
    ({"email_verified": False}, HTTPStatus.FORBIDDEN),
    ({"email_verified": "true"}, HTTPStatus.FORBIDDEN),
]


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize(("changes", "status"), OTHERS)
def test_other_claims_are_refused(
    keys: Keys, address: str, changes: dict[str, Any], status: HTTPStatus, removed: bool
) -> None:
    header = bearer(keys.add("one"), **changes)
    checked = authenticator(address, on_cloud_run=removed)
    assert checked.refusal(stripped(header) if removed else header) == status


def test_forgeries_are_refused(keys: Keys, address: str) -> None:
    good = bearer(keys.add("one"))
    unsigned = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    forged = [
        bearer(Keys().add("one")),
        bearer(Keys("ES256").add("one")),
        bearer(Keys().add("unknown")),
        "Bearer " + unsigned + "." + good.split(".")[1] + ".",
        good[:-8] + "AAAAAAAA",
        good[:-3],
        good.replace("Bearer", "Basic"),
        good.replace("Bearer ", ""),
        "",
        "Bearer",
        "Bearer ",
        "Bearer a.b.c",
        "Bearer " + "x" * 8000,
        "Bearer W10.W10.W10",
        "Bearer bnVsbA.bnVsbA.bnVsbA",
        # The mark of Cloud Run counts only there.
        stripped(good),
    ]
    checked = authenticator(address)
    for header in forged:
        assert checked.refusal(header) == HTTPStatus.UNAUTHORIZED, header


def test_cloud_run_removes_the_signature_that_it_checked(keys: Keys, address: str) -> None:
    good = bearer(keys.add("one"))
    checked = authenticator(address, on_cloud_run=True)
    assert checked.refusal(stripped(good)) is None
    assert checked.refusal(good) is None
    for bad in (bearer(Keys().add("one")), good.rpartition(".")[0] + ".", "Bearer x.y.z"):
        assert checked.refusal(bad) == HTTPStatus.UNAUTHORIZED
    assert checked.refusal(f"Bearer W10.W10.{SIGNATURE_REMOVED}") == HTTPStatus.UNAUTHORIZED


def test_new_keys_are_downloaded_but_not_for_every_forgery(
    keys: Keys, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = authenticator(address)
    assert checked.refusal(bearer(keys.add("one"))) is None
    newer = keys.add("two")
    for _ in range(5):
        assert checked.refusal(bearer(newer)) == HTTPStatus.UNAUTHORIZED
    assert keys.asked == 1
    monkeypatch.setattr(signed_tokens, "KEYS_AGAIN_S", 0.0)
    assert checked.refusal(bearer(newer)) is None
    assert keys.asked == 2


def test_without_keys_nothing_is_decided(keys: Keys, address: str) -> None:
    header = bearer(keys.add("one"))
    assert authenticator("http://127.0.0.1:9/keys").refusal(header) == 503
    keys.status = 500
    checked = authenticator(address)
    assert checked.refusal(header) == 503
    keys.status = 200
    assert checked.refusal(header) is None
