"""Token endpoints: the metadata server, IAM Credentials and OAuth."""

from __future__ import annotations

import functools
import json
import secrets
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, exceptions, jwt

from cli.demo.drive_standin.errors import READONLY, ApiError, insufficient_scopes, unauthenticated

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
IAM = "https://www.googleapis.com/auth/iam"


@dataclass(frozen=True)
class Token:
    """A bearer token's account, which may act as ``subject``."""

    account: str
    subject: str
    scopes: frozenset[str]
    expires: datetime

    @property
    def principal(self) -> str:
        """Return the account whose files the token gives access to."""
        return self.subject or self.account


@dataclass
class Identity:
    """Service accounts, their permissions, and the tokens issued.

    ``metadata_account`` is the account of this "machine"; its tokens carry
    ``metadata_scopes`` unless others are asked for, as on Cloud Run, whose default cannot
    read Drive. ``impersonators`` lists who may act as a service account, ``delegations``
    which scopes domain-wide delegation grants it, ``suspended`` which users have no access.
    """

    metadata_account: str = "runner@project.iam.gserviceaccount.com"
    metadata_scopes: frozenset[str] = frozenset({CLOUD_PLATFORM})
    impersonators: dict[str, set[str]] = field(default_factory=dict)
    delegations: dict[str, set[str]] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    lifetime_s: int = 3600

    def __post_init__(self) -> None:
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def issue(self, account: str, scopes: list[str] | None = None, subject: str = "") -> str:
        """Issue a token; its scope is ``drive.readonly`` by default."""
        granted = frozenset([READONLY] if scopes is None else scopes)
        expires = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
        text = "ya29." + secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[text] = Token(account, subject, granted, expires)
        return text

    def revoke_tokens(self) -> None:
        """Invalidate every token issued so far."""
        with self._lock:
            self._tokens.clear()

    def token(self, authorization: str | None) -> Token:
        """Return the token of a request's ``Authorization`` header; raises ``ApiError`` 401."""
        scheme, _, text = (authorization or "").partition(" ")
        token = self._tokens.get(text)
        if scheme.lower() != "bearer" or token is None or token.expires < datetime.now(UTC):
            raise unauthenticated()
        return token

    def drive_principal(self, authorization: str | None) -> str:
        """Return the caller; raises ``ApiError`` 401, or 403 without ``drive.readonly``."""
        token = self.token(authorization)
        if READONLY not in token.scopes:
            raise insufficient_scopes()
        return token.principal

    # The metadata server

    def metadata(self, path: str, scopes: list[str]) -> dict[str, Any] | str | None:
        """Answer a path below ``/computeMetadata/v1/``; ``None`` when there is none."""
        account = path.removeprefix("instance/service-accounts/").partition("/")[0]
        if path == "project/project-id":
            return "project"
        if path == "universe/universe-domain":
            return "googleapis.com"
        if account not in ("default", self.metadata_account):
            return None
        leaf = path.rpartition("/")[2]
        if leaf == "":
            default = sorted(self.metadata_scopes)
            return {"email": self.metadata_account, "scopes": default, "aliases": ["default"]}
        if leaf == "email":
            return self.metadata_account
        if leaf == "token":
            token = self.issue(self.metadata_account, scopes or sorted(self.metadata_scopes))
            return {"access_token": token, "expires_in": self.lifetime_s, "token_type": "Bearer"}
        return None

    # IAM Credentials

    def iam(
        self, account: str, verb: str, authorization: str | None, body: dict[str, Any]
    ) -> dict[str, Any]:
        """Answer ``generateAccessToken`` and ``signJwt``; raises ``ApiError``."""
        caller = self.token(authorization)
        if not caller.scopes & {CLOUD_PLATFORM, IAM}:
            raise insufficient_scopes()
        if caller.account not in self.impersonators.get(account, set()):
            message = f"Permission 'iam.serviceAccounts.{verb}' denied on resource"
            raise ApiError(403, "forbidden", message, grpc_status="PERMISSION_DENIED")
        if verb == "generateAccessToken":
            expires = datetime.now(UTC) + timedelta(seconds=self.lifetime_s)
            token = self.issue(account, body["scope"])
            return {"accessToken": token, "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if verb == "signJwt":
            return {"keyId": "1", "signedJwt": sign(json.loads(body["payload"]))}
        raise ApiError(404, "notFound", verb)

    # The OAuth token endpoint

    def exchange(self, assertion: str) -> dict[str, Any]:
        """Answer a JWT grant; raises ``OAuthError``."""
        public = serialization.load_pem_private_key(_private_key().encode(), None).public_key()
        certificate = public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        try:
            claims = jwt.decode(assertion, certs=certificate)  # type: ignore[no-untyped-call]
        except (ValueError, exceptions.GoogleAuthError) as error:
            raise OAuthError(400, "invalid_grant", f"Invalid JWT: {error}") from error
        account, subject = claims["iss"], claims.get("sub", "")
        scopes = claims.get("scope", "").split()
        if subject and subject != account:
            self._check_delegation(account, subject, set(scopes))
        else:
            subject = ""
        token = self.issue(account, scopes, subject)
        return {"access_token": token, "expires_in": self.lifetime_s, "token_type": "Bearer"}

    def _check_delegation(self, account: str, subject: str, scopes: set[str]) -> None:
        if not scopes or not scopes <= self.delegations.get(account, set()):
            raise OAuthError(
                401,
                "unauthorized_client",
                "Client is unauthorized to retrieve access tokens using this method, "
                "or client not authorized for any of the scopes requested.",
            )
        if subject in self.suspended:
            raise OAuthError(400, "invalid_grant", "Invalid email or User ID")


class OAuthError(Exception):
    """An error of the token endpoint, in OAuth's shape."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.body = {"error": error, "error_description": description}


@functools.cache
def _private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def sign(claims: dict[str, Any]) -> str:
    """Return the claims as a JWT signed with the key of every stand-in account."""
    signer = crypt.RSASigner.from_string(_private_key(), "1")  # type: ignore[no-untyped-call]
    return str(jwt.encode(signer, claims).decode())  # type: ignore[no-untyped-call]


#: The environment of a process that uses a stand-in's key file. google-auth asks
#: iamcredentials.googleapis.com in the background where a service account may send requests
#: (``google/auth/_regional_access_boundary_utils.py``; no setting turns that off). Nothing
#: listens on this proxy, so the question does not leave the machine.
LOOPBACK_ONLY = {
    **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
}


def key_file(account: str, token_uri: str) -> dict[str, Any]:
    """Return a service account's key file, for ``GOOGLE_APPLICATION_CREDENTIALS``."""
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": _private_key(),
        "client_email": account,
        "client_id": "1",
        "token_uri": token_uri,
    }
