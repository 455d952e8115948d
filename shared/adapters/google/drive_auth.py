"""Credentials that may read Drive, and nothing else."""

from __future__ import annotations

import google.auth
from google.auth import impersonated_credentials
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.transport.requests import Request

from shared.core.errors import ConfigurationError

#: The only scope ever requested for Drive.
DRIVE_READONLY = "https://www.googleapis.com/auth/drive.readonly"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


def drive_credentials(service_account: str = "", subject: str = "") -> Credentials:
    """Return new credentials with exactly the scope ``drive.readonly``.

    ``service_account`` is impersonated without keys; the caller needs the role Service
    Account Token Creator on it. ``subject`` is the user whose Drive is read, by domain-wide
    delegation. With neither, Application Default Credentials are used. Cloud Run's default
    token cannot read Drive, and ``build()`` adds no scope to credentials that were already
    refreshed, so each call creates new credentials with the scope set.

    Raises ``ConfigurationError`` when no credentials are available.
    """
    if not service_account and not subject:
        return _default(DRIVE_READONLY)
    source = _default(CLOUD_PLATFORM)
    if subject and not service_account and hasattr(source, "with_subject"):
        delegated: Credentials = source.with_subject(subject).with_scopes([DRIVE_READONLY])
        return delegated
    return impersonated_credentials.Credentials(  # type: ignore[no-untyped-call]
        source_credentials=source,
        target_principal=service_account or _own_email(source),
        target_scopes=[DRIVE_READONLY],
        subject=subject or None,
    )


def _default(scope: str) -> Credentials:
    try:
        credentials, _ = google.auth.default(scopes=[scope])
    except DefaultCredentialsError as error:
        raise ConfigurationError([f"no Google credentials: {error}"]) from error
    return credentials


def _own_email(source: Credentials) -> str:
    # On an instance only the metadata server knows the account; a refresh asks it.
    email = getattr(source, "service_account_email", "")
    if email == "default":
        source.refresh(Request())  # type: ignore[no-untyped-call]
        email = getattr(source, "service_account_email", "")
    if not email:
        raise ConfigurationError(
            ["DRIVE_SUBJECTS needs DRIVE_SERVICE_ACCOUNT: a person's credentials cannot delegate"]
        )
    return str(email)
