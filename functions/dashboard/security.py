"""Who may ask: names of the host, IAP's signed header, and requests of our own pages only."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Response, g, request

from functions.dashboard.problems import ProblemError
from shared.core import untrusted_json

log = logging.getLogger(__name__)

#: IAP's public keys and issuer: "Securing your app with signed headers",
#: https://cloud.google.com/iap/docs/signed-headers-howto
IAP_KEYS = "https://www.gstatic.com/iap/verify/public_key"
IAP_ISSUER = "https://cloud.google.com/iap"
IAP_HEADER = "X-Goog-IAP-JWT-Assertion"

COOKIE = "csrf_token"

_KEYS_FOR_S = 3600.0
_KEYS_AGAIN_S = 60.0


def check_host(hosts: frozenset[str] | None) -> None:
    """Refuse a request for another host's name (DNS rebinding); ``None`` allows any."""
    if hosts is None:
        return
    try:
        name = (urlsplit(f"//{request.host}").hostname or "").rstrip(".")
    except ValueError:
        name = ""
    if not (name in hosts or _is_loopback(name)):
        raise ProblemError(421, "this server does not answer to that host name")


def _is_loopback(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class IapVerifier:
    """Verifies the header that Identity-Aware Proxy signs.

    Args:
        audience: ``IAP_AUDIENCE``.
        keys_url: Where the public keys are; they are fetched again after an hour, or when a
            header names an unknown key, at most once a minute.
    """

    def __init__(self, audience: str, keys_url: str = IAP_KEYS) -> None:
        self._audience = audience
        self._keys_url = keys_url
        self._lock = threading.Lock()
        self._keys: Mapping[str, str] = {}
        self._fetched: float | None = None

    def check(self, token: str) -> str:
        """Return the user's e-mail address; raises ``ProblemError`` (401)."""
        from google.auth import exceptions, jwt  # noqa: PLC0415

        try:
            header = jwt.decode_header(token)  # type: ignore[no-untyped-call]
            if header.get("alg") != "ES256":
                raise ValueError("another algorithm")
            keys = self._keys_with(str(header.get("kid")))
            claims: Mapping[str, Any] = jwt.decode(  # type: ignore[no-untyped-call]
                token, certs=keys, audience=self._audience
            )
            if claims.get("iss") != IAP_ISSUER:
                raise ValueError("another issuer")
        except exceptions.TransportError as error:
            log.warning("IAP's public keys cannot be read: %s", error)
            raise ProblemError(503, "sign-in cannot be verified right now") from error
        # RecursionError: google-auth parses claims nested thousands of levels deep.
        except (ValueError, RecursionError, exceptions.GoogleAuthError) as error:
            raise ProblemError(401, "sign in through Identity-Aware Proxy") from error
        return str(claims.get("email", ""))

    def _keys_with(self, key_id: str) -> Mapping[str, str]:
        with self._lock:
            age = None if self._fetched is None else time.monotonic() - self._fetched
            unknown = key_id not in self._keys and (age is None or age > _KEYS_AGAIN_S)
            if age is None or age > _KEYS_FOR_S or unknown:
                self._keys = self._fetch()
                self._fetched = time.monotonic()
            return self._keys

    def _fetch(self) -> Mapping[str, str]:
        from google.auth import exceptions  # noqa: PLC0415
        from google.auth.transport.requests import Request  # noqa: PLC0415

        answer = Request()(self._keys_url, method="GET", timeout=5)
        if answer.status != 200:
            raise exceptions.TransportError(  # type: ignore[no-untyped-call]
                f"status {answer.status}"
            )
        keys: Mapping[str, str] = untrusted_json.parse(answer.data)
        return keys


def csrf_token() -> str:
    """Return this browser's token, for a page's forms; ``set_cookie`` stores a new one."""
    if "csrf" not in g:
        known = request.cookies.get(COOKIE, "")
        g.csrf = known if 20 <= len(known) <= 100 and known.isascii() else ""
        if not g.csrf:
            g.csrf = secrets.token_urlsafe(32)
            g.csrf_is_new = True
    return str(g.csrf)


def set_cookie(response: Response) -> None:
    """Store a token that this request made."""
    if g.get("csrf_is_new"):
        secure = request.is_secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(
            COOKIE, g.csrf, secure=secure, httponly=True, samesite="Strict", path="/"
        )


def check_same_origin() -> None:
    """Refuse a POST that none of our own pages sent (403).

    Browsers send ``Origin`` or ``Sec-Fetch-Site`` with every POST. The token is in a cookie
    that other origins cannot read, and once more in the form or a header.
    """
    origin = request.headers.get("Origin")
    site = request.headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        raise ProblemError(403, "send the header Origin, or Sec-Fetch-Site: same-origin")
    if site is not None and site != "same-origin":
        raise ProblemError(403, "this request comes from another site")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise ProblemError(403, "this request comes from another origin")
    cookie = request.cookies.get(COOKIE, "")
    sent = request.headers.get("X-CSRF-Token") or request.form.get(COOKIE, "")
    if not cookie or not hmac.compare_digest(cookie.encode(), sent.encode()):
        raise ProblemError(403, "the CSRF token is missing or wrong: reload the page")


def harden(response: Response, media_origins: str) -> None:
    """Add the headers that keep a browser from running anything that is not ours."""
    media = f" {media_origins}" if media_origins else ""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        f"connect-src 'self'; media-src 'self'{media}; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
