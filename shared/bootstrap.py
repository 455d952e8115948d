"""The composition root: the only module that knows the adapters.

Everything is built when first used, and kept. So an entry point imports only what it uses,
and nothing is built before a server forks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from shared.config.parsers import SftpCredentials
from shared.config.settings import QueueUrl, Settings
from shared.core.errors import TransientError
from shared.core.kernel import hide_process
from shared.tracking.announcer import Announcer
from shared.tracking.tracker import Tracker

if TYPE_CHECKING:
    from shared.adapters.google.drive_sources import DriveClients
    from shared.adapters.local.sources import LocalSources, OnLeftOut
    from shared.adapters.memory import MemoryQueue
    from shared.adapters.sftp.server import SftpServer
    from shared.core.ports import (
        Documents,
        Jobs,
        Mirror,
        PassedOver,
        Queue,
        Results,
        Sources,
        Storage,
    )
    from shared.core.sftp_login import PersonalLogin
    from shared.service.push_auth import PushAuthenticator


class Services:
    """Everything that one process uses, built from its settings.

    With ``read_only`` a missing local tracker counts as empty and is not created. Raises
    ``ConfigurationError`` when a setting names something that cannot be used.
    """

    def __init__(self, settings: Settings, *, read_only: bool = False) -> None:
        self.settings = settings
        self._read_only = read_only
        #: How to log in to the SFTP server in place of ``SFTP_CREDENTIALS``.
        self.sftp_login: PersonalLogin | SftpCredentials | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the settings, hide this process, which now has secrets, and build nothing yet."""
        hide_process()
        return cls(Settings.from_environment(environ))

    @cached_property
    def storage(self) -> Storage:
        """The bucket."""
        url = self.settings.storage_url
        if url.kind == "gs":
            from shared.adapters.google.storage import GCSStorage  # noqa: PLC0415

            return GCSStorage(url.bucket)
        from shared.adapters.local.storage import FilesystemStorage  # noqa: PLC0415

        return FilesystemStorage(Path(url.path))

    def check_space(self, needed: int) -> None:
        """Raise ``TransientError`` unless a local storage and the work folder have space.

        Nothing is checked for a bucket: the work folder of Cloud Run is memory, which the
        system reports in other ways.
        """
        url = self.settings.storage_url
        if url.kind != "file":
            return
        places = [(tempfile.gettempdir(), "TMPDIR"), (url.path, "STORAGE_URL")]
        for place, variable in places:
            path = Path(place).absolute()
            existing = next(one for one in (path, *path.parents) if one.exists())
            free = shutil.disk_usage(existing).free
            if free < needed:
                raise TransientError(
                    f"the disk is full: {path} has {free / 1e6:.1f} MB free and about "
                    f"{needed / 1e6:.1f} MB are needed; free some space, or set {variable} to "
                    "another place"
                )

    @cached_property
    def documents(self) -> Documents:
        """The tracker's database."""
        url = self.settings.tracker_url
        if url.kind == "firestore":
            from shared.adapters.google.documents import FirestoreDocuments  # noqa: PLC0415

            return FirestoreDocuments(url.project, url.database)
        if self._read_only and not Path(url.path).exists():
            from shared.adapters.memory import MemoryDocuments  # noqa: PLC0415

            return MemoryDocuments()
        from shared.adapters.local.documents import SQLiteDocuments  # noqa: PLC0415

        return SQLiteDocuments(Path(url.path))

    @cached_property
    def tracker(self) -> Tracker:
        """The records of all recordings."""
        lease, env = timedelta(seconds=self.settings.lease_seconds), self.settings.pipeline_env
        announcer = Announcer(self.documents, self.results, env) if self.results else None
        return Tracker(self.documents, lease=lease, announcer=announcer)

    @cached_property
    def results(self) -> Results | None:
        """Where the ends of recordings are announced, if configured."""
        url = self.settings.results_queue_url
        if url is None:
            return None
        if url.kind == "pubsub":
            from shared.adapters.google.results import PubSubResults  # noqa: PLC0415

            return PubSubResults(url.project, url.topic)
        from shared.adapters.webhook import WebhookResults  # noqa: PLC0415

        return WebhookResults(url.address, self.settings.results_secret or ())

    @cached_property
    def recordings_queue(self) -> Queue:
        """Where recordings of Drive are published."""
        return self._queue(self.settings.recordings_queue_url)

    @cached_property
    def sftp_queue(self) -> Queue:
        """Where files of the SFTP server are published."""
        return self._queue(self.settings.sftp_queue_url)

    def _queue(self, url: QueueUrl) -> Queue:
        if url.kind == "pubsub":
            from shared.adapters.google.queue import PubSubQueue  # noqa: PLC0415

            return PubSubQueue(url.project, url.topic)
        if url.path:
            from shared.adapters.local.queue import SocketQueue  # noqa: PLC0415

            return SocketQueue(Path(url.path))
        return self.local_queue

    @cached_property
    def jobs(self) -> Jobs:
        """The job for work that takes longer than a push may."""
        from shared.adapters.google.jobs import CloudRunJobs  # noqa: PLC0415

        return CloudRunJobs(
            self.settings.extract_job,
            variable="RECORDING_KEY",
            endpoint=os.environ.get("RUN_API_ENDPOINT", ""),
        )

    @cached_property
    def push_authenticator(self) -> PushAuthenticator | None:
        """What checks the sender of a push; ``None`` accepts all.

        Raises ``ConfigurationError`` when only one of its two variables is set.
        """
        if not (self.settings.push_audience or self.settings.push_account):
            return None
        self.settings.require("PUSH_AUDIENCE", "PUSH_ACCOUNT")
        from shared.service.push_auth import GOOGLE_KEYS, PushAuthenticator  # noqa: PLC0415

        return PushAuthenticator(
            self.settings.push_audience,
            self.settings.push_account,
            on_cloud_run="K_SERVICE" in os.environ,
            keys_url=os.environ.get("PUSH_KEYS_URL", GOOGLE_KEYS),
        )

    @cached_property
    def drive_clients(self) -> DriveClients:
        """The clients of Drive, one for each account."""
        from shared.adapters.google.drive_sources import DriveClients  # noqa: PLC0415

        return DriveClients(
            service_account=self.settings.drive_service_account,
            endpoint=self.settings.drive_api_endpoint,
        )

    @cached_property
    def drive_sources(self) -> Sources:
        """Recordings of Drive."""
        from shared.adapters.google.drive_sources import DriveSources  # noqa: PLC0415

        return DriveSources(
            self.drive_clients,
            subjects=self.settings.drive_subjects,
            drive_ids=self.settings.drive_ids,
            folder_ids=self.settings.drive_folder_ids,
            since=self.settings.backfill_since,
        )

    @cached_property
    def _sftp_server(self) -> SftpServer:
        from shared.adapters.sftp.server import SftpServer  # noqa: PLC0415

        if self.sftp_login is None:
            self.settings.require("SFTP_HOST", "SFTP_CREDENTIALS")
        login = self.sftp_login or self.settings.sftp_credentials
        assert login is not None
        return SftpServer(self.settings.sftp_host, self.settings.sftp_port, login)

    @cached_property
    def sftp_sources(self) -> Sources:
        """Audio files of the SFTP server."""
        return self.sftp_files()

    def sftp_files(self, passed_over: PassedOver | None = None) -> Sources:
        """Audio files of the SFTP server; a listing adds the other files to ``passed_over``."""
        from shared.adapters.sftp.sources import SftpSources  # noqa: PLC0415

        return SftpSources(
            self._sftp_server,
            self.settings.sftp_remote_path,
            exclude=self.settings.sftp_mirror_path,
            passed_over=passed_over,
        )

    @cached_property
    def sftp_mirror(self) -> Mirror | None:
        """The directory of the SFTP server that gets a copy of the results, if configured."""
        if not self.settings.sftp_mirror_path:
            return None
        from shared.adapters.sftp.mirror import SftpMirror  # noqa: PLC0415

        return SftpMirror(self._sftp_server, self.settings.sftp_mirror_path)

    @cached_property
    def local_sources(self) -> LocalSources:
        """Files of this machine."""
        from shared.adapters.local.sources import LocalSources  # noqa: PLC0415

        return LocalSources()

    def local_folder(
        self, root: Path, on_left_out: OnLeftOut = lambda _path, _why: None
    ) -> LocalSources:
        """Recordings below a folder of this machine, without our own output."""
        from shared.adapters.local.sources import LocalSources  # noqa: PLC0415

        url = self.settings.storage_url
        exclude = [Path(url.path)] if url.kind == "file" else []
        return LocalSources(root, exclude=exclude, on_left_out=on_left_out)

    @cached_property
    def local_queue(self) -> MemoryQueue:
        """Messages for this process only."""
        from shared.adapters.memory import MemoryQueue  # noqa: PLC0415

        return MemoryQueue()
