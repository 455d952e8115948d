"""Signatures by a service account whose private key only Google has."""

from __future__ import annotations

import functools

from google.auth import iam
from google.auth.credentials import Credentials, Signing
from google.auth.transport.requests import Request

from shared.core.errors import ConfigurationError

# Per attempt, of three (google.auth.iam). The storage client's own signBlob call would
# retry for two minutes.
_TIMEOUT_S = 5.0


def signing(credentials: Credentials) -> Signing:
    """Return credentials that can sign: these, or the same account's through IAM's signBlob.

    The account needs ``iam.serviceAccounts.signBlob`` on itself (part of
    ``roles/iam.serviceAccountTokenCreator``) and a token with scope ``cloud-platform``. Raises
    ``ConfigurationError`` for a person's credentials, which cannot sign.
    """
    if isinstance(credentials, Signing):
        return credentials
    request = functools.partial(Request(), timeout=_TIMEOUT_S)
    if not credentials.valid:
        # The account's name is known only after the metadata server was asked.
        credentials.refresh(request)  # type: ignore[no-untyped-call]
    email = getattr(credentials, "service_account_email", None)
    if not email:
        raise ConfigurationError(["signed URLs need the credentials of a service account"])
    signer = iam.Signer(request, credentials, email)  # type: ignore[no-untyped-call]
    return _IamSigning(signer, email)


class _IamSigning(Signing):
    def __init__(self, signer: iam.Signer, email: str) -> None:
        self._signer = signer
        self._email = email

    @property
    def signer(self) -> iam.Signer:
        return self._signer

    @property
    def signer_email(self) -> str:
        return self._email

    def sign_bytes(self, message: bytes) -> bytes:
        return bytes(self._signer.sign(message))
