"""Signatures of a service account whose private key only Google has."""

from __future__ import annotations

import functools

from google.auth import iam
from google.auth.credentials import Credentials, Signing
from google.auth.transport.requests import Request

from shared.core.errors import ConfigurationError

# For one try of three (google.auth.iam); the storage client's own call of signBlob goes
# on for two minutes.
_TIMEOUT_S = 5.0


def signing(credentials: Credentials) -> Signing:
    """Return credentials that can sign: these, or the same account's through IAM's signBlob.

    That takes ``iam.serviceAccounts.signBlob``, in ``roles/iam.serviceAccountTokenCreator``,
    on the account itself, and a token of the scope ``cloud-platform``. Raises
    ``ConfigurationError`` for a person's credentials, which cannot sign.
    """
    if isinstance(credentials, Signing):
        return credentials
    request = functools.partial(Request(), timeout=_TIMEOUT_S)
    if not credentials.valid:
        # Only then does the metadata server say whose credentials these are.
        credentials.refresh(request)  # type: ignore[no-untyped-call]
    email = getattr(credentials, "service_account_email", None)
    if not email:
        raise ConfigurationError(["signed addresses need the credentials of a service account"])
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
