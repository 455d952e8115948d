"""Checks that a push request comes from our own Pub/Sub subscription.

Pub/Sub signs a token for each push: an OpenID Connect ID token of the subscription's service
account. Its audience, e-mail and ``email_verified`` must be checked besides the signature.
Source: "Authentication for push subscriptions", "Validate tokens",
https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions
"""

from __future__ import annotations

import logging
from http import HTTPStatus

from shared.service.signed_tokens import InvalidTokenError, KeysUnavailableError, TokenVerifier

log = logging.getLogger(__name__)

#: Where Google publishes the certificates of its ID tokens, and the issuers it signs as
#: (google.oauth2.id_token).
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v1/certs"
GOOGLE_ISSUERS = frozenset({"accounts.google.com", "https://accounts.google.com"})

_SKEW_S = 30

#: Cloud Run checks the token itself where IAM protects a service, and passes it on with this
#: in place of the signature, so that it cannot be replayed.
#: Source: "Troubleshoot Cloud Run issues", section "signature-removed",
#: https://cloud.google.com/run/docs/troubleshooting#signature-removed
SIGNATURE_REMOVED = "SIGNATURE_REMOVED_BY_GOOGLE"


class PushAuthenticator:
    """Accepts pushes of one service account for one audience.

    Args:
        audience: ``PUSH_AUDIENCE``.
        account: ``PUSH_ACCOUNT``.
        on_cloud_run: Whether Cloud Run passes on requests that it authenticated. Only then
            is a token accepted whose signature Cloud Run has removed; its claims are checked.
        keys_url: Where the public keys are.
    """

    def __init__(
        self, audience: str, account: str, *, on_cloud_run: bool, keys_url: str = GOOGLE_KEYS
    ) -> None:
        self._account = account
        self._on_cloud_run = on_cloud_run
        self._verifier = TokenVerifier(
            audience,
            issuers=GOOGLE_ISSUERS,
            algorithm="RS256",
            keys_url=keys_url,
            skew_s=_SKEW_S,
        )

    def refusal(self, authorization: str) -> HTTPStatus | None:
        """Return how to answer a request with this header; ``None`` for one of Pub/Sub's.

        401 without a valid token, 403 for another account's, 503 when it cannot be verified.
        """
        kind, _, token = authorization.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            log.warning("a push without a token was refused")
            return HTTPStatus.UNAUTHORIZED
        token = token.strip()
        try:
            if self._on_cloud_run and token.endswith(f".{SIGNATURE_REMOVED}"):
                claims = self._verifier.unverified(token)
            else:
                claims = self._verifier.verify(token)
        except KeysUnavailableError as error:
            log.warning("a push cannot be authenticated now: %s", error)
            return HTTPStatus.SERVICE_UNAVAILABLE
        except InvalidTokenError as error:
            log.warning("a push with an invalid token was refused: %s", error)
            return HTTPStatus.UNAUTHORIZED
        if claims.get("email") != self._account or claims.get("email_verified") is not True:
            log.warning("a push of another account was refused")
            return HTTPStatus.FORBIDDEN
        return None
