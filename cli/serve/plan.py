"""Which parts of the system the settings ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from shared.config.settings import Settings
from shared.core.errors import ConfigurationError

_NO_SOURCE = """there is no source of recordings. Set one of these:
  Google Drive   GOOGLE_APPLICATION_CREDENTIALS=key.json, or run: gcloud auth application-default
                 login --scopes=https://www.googleapis.com/auth/drive.readonly,openid
  SFTP server    SFTP_HOST=sftp.example.com and SFTP_CREDENTIALS={"username": …}
  a folder       audio-pipeline serve --watch DIR
To try it without any: audio-pipeline serve --demo"""


@dataclass(frozen=True, kw_only=True)
class SystemPlan:
    """Which parts run, and how many workers of each kind."""

    drive: bool
    sftp: bool
    folders: tuple[Path, ...] = ()
    workers: int = 1

    @classmethod
    def of(
        cls,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        folders: Sequence[Path] = (),
        workers: int = 1,
    ) -> Self:
        """Return what the settings ask for.

        Raises ``ConfigurationError`` when no source is set, and for what ``serve`` cannot
        do: its queue pushes only what is published on this machine.
        """
        for name in ("recordings_queue_url", "sftp_queue_url"):
            if getattr(settings, name).kind != "local":
                raise ConfigurationError([f"{name.upper()} must be local:// for serve"])
        drive = bool(
            settings.drive_folder_ids
            or settings.drive_subjects
            or settings.drive_ids
            or settings.drive_service_account
            or settings.drive_api_endpoint
            or settings.webhook_url
            or _application_default_credentials(environ).is_file()
        )
        sftp = bool(settings.sftp_host and settings.sftp_credentials)
        if not (drive or sftp or folders):
            raise ConfigurationError(_NO_SOURCE.splitlines())
        return cls(drive=drive, sftp=sftp, folders=tuple(folders), workers=workers)


def _application_default_credentials(environ: Mapping[str, str]) -> Path:
    """Return where google-auth looks for credentials on a machine that is not Google's.

    https://google.aip.dev/auth/4110
    """
    if named := environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return Path(named)
    folder = environ.get("CLOUDSDK_CONFIG") or Path.home() / ".config" / "gcloud"
    return Path(folder) / "application_default_credentials.json"
