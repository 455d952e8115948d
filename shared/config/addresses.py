"""Parsers of environment variables that contain addresses, and what they return.

As in ``parsers``, each raises ``ValueError`` with the end of a sentence that starts with the
variable's name. No message repeats the address, which may contain a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from shared.config.parsers import matching

_PROJECT = r"[a-z0-9][a-z0-9.:-]{2,62}"
_LOOPBACK = re.compile(r"localhost|127(\.\d{1,3}){3}|::1")


@dataclass(frozen=True, kw_only=True)
class StorageUrl:
    """Where objects go: ``bucket`` for ``gs``, ``path`` of a directory for ``file``."""

    kind: Literal["gs", "file"]
    bucket: str = ""
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class TrackerUrl:
    """Where records are: ``path`` for ``sqlite``, ``project``/``database`` for ``firestore``."""

    kind: Literal["sqlite", "firestore"]
    path: str = ""
    project: str = ""
    database: str = ""


@dataclass(frozen=True, kw_only=True)
class QueueUrl:
    """Where messages go: ``project`` and ``topic`` for ``pubsub``.

    ``local`` is the queue of ``audio-pipeline serve``, which listens on the Unix socket
    ``path``; without a path, a queue inside this process.
    """

    kind: Literal["pubsub", "local"]
    project: str = ""
    topic: str = ""
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class ResultsUrl:
    """Where results are announced: ``project`` and ``topic`` for ``pubsub``, else ``address``."""

    kind: Literal["pubsub", "webhook"]
    project: str = ""
    topic: str = ""
    address: str = ""

    @property
    def is_encrypted(self) -> bool:
        """Whether it is an https address."""
        return self.address.lower().startswith("https:")


def storage_url(text: str) -> StorageUrl:
    """Read the address of a bucket or a directory."""
    if "://" not in text:
        if re.match(r"(gs|file|s3|https?):", text):
            raise ValueError("has no // after its scheme")
        return StorageUrl(kind="file", path=text)
    url = _split(text)
    if url.scheme == "gs":
        if url.path.strip("/"):
            raise ValueError("has a path after the bucket; set PIPELINE_ENV instead")
        # https://cloud.google.com/storage/docs/buckets#naming
        return StorageUrl(
            kind="gs", bucket=matching(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", url.netloc)
        )
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path.strip("/"):
            raise ValueError("is not file:// with three slashes and a directory")
        return StorageUrl(kind="file", path=unquote(url.path))
    raise ValueError("has a scheme that is neither gs nor file")


def tracker_url(text: str) -> TrackerUrl:
    """Read the address of a database; SQLite's as in SQLAlchemy."""
    url = _split(text)
    if url.scheme == "sqlite":
        path = url.path.removeprefix("/")
        if url.netloc or not path.strip("/") or path.endswith("/") or path == ":memory:":
            raise ValueError("is not sqlite:/// and the path of a file")
        return TrackerUrl(kind="sqlite", path=path)
    if url.scheme == "firestore":
        return TrackerUrl(
            kind="firestore",
            project=matching(_PROJECT, url.netloc),
            database=matching(r"\(default\)|[a-z][a-z0-9-]{1,61}[a-z0-9]", url.path[1:]),
        )
    raise ValueError("has a scheme that is neither sqlite nor firestore")


def queue_url(text: str) -> QueueUrl:
    """Read the address of a topic."""
    url = _split(text)
    if url.scheme == "local" and not url.netloc:
        return QueueUrl(kind="local", path=unquote(url.path))
    if url.scheme == "pubsub":
        project, topic = _topic(url)
        return QueueUrl(kind="pubsub", project=project, topic=topic)
    raise ValueError("is neither local:// nor pubsub://")


def _topic(url: SplitResult) -> tuple[str, str]:
    """Return the project and the topic of ``pubsub://PROJECT/TOPIC``."""
    # https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
    topic = matching(r"(?!goog)[A-Za-z][\w.~+%-]{2,254}", url.path[1:])
    return matching(_PROJECT, url.netloc), topic


def results_url(text: str) -> ResultsUrl:
    """Read the address of a topic, or of a receiver of webhooks, which may have a query."""
    address, _, query = text.partition("?")
    if address.startswith("pubsub:"):
        project, topic = _topic(_split(text))
        return ResultsUrl(kind="pubsub", project=project, topic=topic)
    url = _web_address(address)
    if url.scheme == "http" and not _LOOPBACK.fullmatch(url.hostname or ""):
        raise ValueError("is http; results leave this machine over https only")
    # What a request line cannot contain (RFC 9112, section 3.2).
    matching(r"[!-~]+", text)
    if "#" in query:
        raise ValueError("has '#' in it")
    return ResultsUrl(kind="webhook", address=text)


def webhook_url(text: str) -> str:
    """Read an address that Drive can call: https, or http on this machine."""
    url = _web_address(text)
    if url.scheme == "http" and not _LOOPBACK.fullmatch(url.hostname or ""):
        raise ValueError("is http, and Drive calls https only")
    return text


def drive_api_endpoint(text: str) -> str:
    """Read another base address of the Drive API."""
    if not _web_address(text).path.endswith("/drive/v3/"):
        raise ValueError("does not end with /drive/v3/")
    return text


def _web_address(text: str) -> SplitResult:
    url = _split(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("is not an http or https address")
    if "@" in url.netloc or re.search(r"\s", text):
        raise ValueError("has a user name or a space in it")
    return url


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        url.port  # noqa: B018 - raises for a bad port
    except ValueError:
        raise ValueError("is not an address") from None
    if url.query or url.fragment or text.endswith(("?", "#")):
        raise ValueError("has '?' or '#' in it")
    return url
