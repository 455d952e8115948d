"""Identity-Aware Proxy's signed header, with a real key pair and a server of public keys."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from google.auth import crypt

from functions.dashboard.problems import ProblemError
from functions.dashboard.security import IAP_ISSUER, IapVerifier
from shared.service import signed_tokens
from tests import signing
from tests.signing import Keys
from tests.unit.functions.dashboard.conftest import make_bench

AUDIENCE = "/projects/1/locations/europe-west1/services/dashboard"


@pytest.fixture
def keys() -> Keys:
    return Keys("ES256")


@pytest.fixture
def address(keys: Keys) -> Iterator[str]:
    with keys.page() as url:
        yield url


def token(signer: crypt.Signer, **changes: Any) -> str:
    claims = {"iss": IAP_ISSUER, "aud": AUDIENCE, "email": "anna@example.com", **changes}
    return signing.token(signer, claims)


def test_a_signed_header_is_accepted(keys: Keys, address: str) -> None:
    signer = keys.add("one")
    verifier = IapVerifier(AUDIENCE, address)
    assert verifier.check(token(signer)) == "anna@example.com"
    assert verifier.check(token(signer)) == "anna@example.com"
    assert keys.asked == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "/projects/2/locations/europe-west1/services/dashboard"},
        {"iss": "https://accounts.google.com"},
        {"exp": 1_700_000_000},
        {"iat": 4_000_000_000, "exp": 4_000_000_600},
    ],
)
def test_other_claims_are_refused(keys: Keys, address: str, changes: dict[str, Any]) -> None:
    signer = keys.add("one")
    with pytest.raises(ProblemError) as refused:
        IapVerifier(AUDIENCE, address).check(token(signer, **changes))
    assert refused.value.status == 401


def test_a_forged_signature_is_refused(keys: Keys, address: str) -> None:
    keys.add("one")
    forger = Keys("ES256").add("one")
    verifier = IapVerifier(AUDIENCE, address)
    nested = base64.urlsafe_b64encode(b"[" * 6000).decode()
    forgeries = (token(forger), "", "a.b.c", "x" * 50, token(forger)[:-3])
    for forged in (*forgeries, f"{nested}.{nested}.a", f"{token(forger).split('.')[0]}.{nested}.a"):
        with pytest.raises(ProblemError) as refused:
            verifier.check(forged)
        assert refused.value.status == 401


def test_new_keys_are_fetched_but_not_for_every_forgery(
    keys: Keys, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = IapVerifier(AUDIENCE, address)
    verifier.check(token(keys.add("one")))
    newer = keys.add("two")
    with pytest.raises(ProblemError):  # unknown, and the keys were read just now
        verifier.check(token(newer))
    monkeypatch.setattr(signed_tokens, "KEYS_AGAIN_S", 0.0)
    assert verifier.check(token(newer)) == "anna@example.com"
    assert keys.asked == 2


def test_without_the_keys_nobody_is_let_in(keys: Keys) -> None:
    with pytest.raises(ProblemError) as refused:
        IapVerifier(AUDIENCE, "http://127.0.0.1:9/public_key").check(token(keys.add("one")))
    assert refused.value.status == 503


def test_nothing_is_shown_without_the_header() -> None:
    bench = make_bench(iap_audience=AUDIENCE)
    for path in ("/", "/api/stats", "/assets/app.css", "/metrics", "/audio/x"):
        answer = bench.get(path, Host="dashboard.run.app")
        assert answer.status_code == 401
        assert "pages" not in answer.text
