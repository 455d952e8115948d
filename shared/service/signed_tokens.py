"""Verifies tokens that Google signs: signature, audience, issuer and time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping
from typing import Any

from shared.core import untrusted_json

log = logging.getLogger(__name__)

#: How long public keys are kept, and how soon an unknown key may cause another download.
KEYS_FOR_S = 3600.0
KEYS_AGAIN_S = 60.0

_TIMEOUT_S = 5.0

# What google-auth raises, besides its own errors, for JSON of another shape than a token's, and
# for claims nested thousands of levels deep.
_MALFORMED = (AttributeError, KeyError, RecursionError, TypeError, ValueError)


class InvalidTokenError(Exception):
    """The token is malformed, forged, expired, or meant for someone else."""


class KeysUnavailableError(Exception):
    """Google's public keys cannot be downloaded now, so nothing can be verified."""


class TokenVerifier:
    """Verifies JSON web tokens of one issuer for one audience. Threads may share it.

    Args:
        audience: The ``aud`` that a token must have.
        issuers: The ``iss`` values that are accepted.
        algorithm: The only accepted algorithm, ``RS256`` or ``ES256``.
        keys_url: Where the public keys are, JSON by key id. They are downloaded again after
            an hour, or when a token names an unknown key, at most once a minute.
        skew_s: By how many seconds clocks may differ.
    """

    def __init__(
        self,
        audience: str,
        *,
        issuers: Collection[str],
        algorithm: str,
        keys_url: str,
        skew_s: int = 0,
    ) -> None:
        self._audience = audience
        self._issuers = issuers
        self._algorithm = algorithm
        self._keys_url = keys_url
        self._skew_s = skew_s
        self._lock = threading.Lock()
        self._keys: Mapping[str, str] = {}
        self._fetched: float | None = None

    def verify(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a valid token.

        Raises ``InvalidTokenError``, or ``KeysUnavailableError``.
        """
        from google.auth import exceptions, jwt  # noqa: PLC0415

        try:
            header = jwt.decode_header(token)  # type: ignore[no-untyped-call]
            if header.get("alg") != self._algorithm:
                raise InvalidTokenError("signed with another algorithm")
            key_id = header.get("kid")
            # Without a key id, google-auth would try every key.
            if not isinstance(key_id, str):
                raise InvalidTokenError("without the id of a key")
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token,
                certs=self._keys_with(key_id),
                audience=self._audience,
                clock_skew_in_seconds=self._skew_s,
            )
        except (*_MALFORMED, exceptions.GoogleAuthError) as error:
            raise InvalidTokenError(str(error)) from error
        if claims.get("iss") not in self._issuers:
            raise InvalidTokenError("signed by another issuer")
        return claims

    def unverified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token whose signature someone else has verified.

        Audience, issuer and time are checked as in ``verify``. Raises ``InvalidTokenError``.
        """
        from google.auth import exceptions, jwt  # noqa: PLC0415

        try:
            claims: Mapping[str, Any] = jwt.decode(token, verify=False)  # type: ignore[no-untyped-call]
            now = time.time()
            is_current = claims["iat"] - self._skew_s <= now <= claims["exp"] + self._skew_s
            is_ours = claims["aud"] == self._audience and claims["iss"] in self._issuers
        except (*_MALFORMED, exceptions.GoogleAuthError) as error:
            raise InvalidTokenError(str(error)) from error
        if not is_current:
            raise InvalidTokenError("expired, or not valid yet")
        if not is_ours:
            raise InvalidTokenError("for another audience, or from another issuer")
        return claims

    def _keys_with(self, key_id: str) -> Mapping[str, str]:
        with self._lock:
            age = None if self._fetched is None else time.monotonic() - self._fetched
            unknown = key_id not in self._keys and (age is None or age > KEYS_AGAIN_S)
            if age is None or age > KEYS_FOR_S or unknown:
                self._keys = self._download()
                self._fetched = time.monotonic()
            return self._keys

    def _download(self) -> Mapping[str, str]:
        from google.auth import exceptions  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415

        try:
            answer = Request()(self._keys_url, method="GET", timeout=_TIMEOUT_S)
            if answer.status != 200:
                raise KeysUnavailableError(f"{self._keys_url}: status {answer.status}")
            keys = untrusted_json.parse(answer.data)
        except (exceptions.TransportError, ValueError) as error:
            raise KeysUnavailableError(f"{self._keys_url}: {error}") from error
        if not isinstance(keys, dict):
            raise KeysUnavailableError(f"{self._keys_url}: no keys by id")
        return keys
