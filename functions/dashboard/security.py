"""Access checks: the host's name, IAP's signed header, and POSTs from our own pages only."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
from urllib.parse import urlsplit

from flask import Response, g, request

from functions.dashboard.problems import ProblemError
from shared.service.signed_tokens import InvalidTokenError, KeysUnavailableError, TokenVerifier

log = logging.getLogger(__name__)

#: IAP's public keys and issuer: "Securing your app with signed headers",
#: https://cloud.google.com/iap/docs/signed-headers-howto
IAP_KEYS = "https://www.gstatic.com/iap/verify/public_key"
IAP_ISSUER = "https://cloud.google.com/iap"
IAP_HEADER = "X-Goog-IAP-JWT-Assertion"

COOKIE = "csrf_token"


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
        keys_url: Where the public keys are.
    """

    def __init__(self, audience: str, keys_url: str = IAP_KEYS) -> None:
        self._verifier = TokenVerifier(
            audience, issuers=(IAP_ISSUER,), algorithm="ES256", keys_url=keys_url
        )

    def check(self, token: str) -> str:
        """Return the user's e-mail address; raises ``ProblemError`` (401, 503)."""
        try:
            claims = self._verifier.verify(token)
        except KeysUnavailableError as error:
            log.warning("IAP's public keys cannot be read: %s", error)
            raise ProblemError(503, "sign-in cannot be verified right now") from error
        except InvalidTokenError as error:
            raise ProblemError(401, "sign in through Identity-Aware Proxy") from error
        return str(claims.get("email", ""))


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
