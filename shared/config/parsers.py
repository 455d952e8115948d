"""Parsers of environment variables, one function for each kind of value.

Each raises ``ValueError`` with the end of a sentence that starts with the variable's name.
No message repeats the value.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit
from zoneinfo import ZoneInfo

from shared.config.secret import Secret
from shared.core import untrusted_json
from shared.media.formats.mp3_rates import MP3_RATES

MP3_MAX_BITRATE = 320_000

_RATES = {
    "wav": MP3_RATES,
    "mp3": MP3_RATES,
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}
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


@dataclass(frozen=True, kw_only=True)
class SftpCredentials:
    """How to log in to the SFTP server, and the lines of ``known_hosts`` that pin its key."""

    username: str
    known_hosts: str
    password: Secret | None = None
    private_key: Secret | None = None
    passphrase: Secret | None = None

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The parts that must never be shown."""
        return tuple(s for s in (self.password, self.private_key, self.passphrase) if s)

    @classmethod
    def parse(cls, text: str) -> SftpCredentials | None:
        """Read the JSON of the secret; ``{}``, its first content, is ``None``."""
        try:
            body = untrusted_json.parse(text)
        except ValueError:
            raise ValueError("is not JSON") from None  # the cause would show the secret
        if not isinstance(body, dict):
            raise ValueError("is not a JSON object")
        if not body:
            return None
        known = ("username", "known_hosts", "password", "private_key", "passphrase")
        for name in known:
            if not isinstance(body.get(name, ""), str):
                raise ValueError(f"has a {name} that is not text")
        values = {name: body.get(name, "") for name in known}
        _check_credentials(values)
        return cls(
            username=values["username"],
            known_hosts=values["known_hosts"],
            **{name: Secret(values[name]) for name in known[2:] if values[name]},
        )


def _check_credentials(values: dict[str, str]) -> None:
    for name in ("username", "known_hosts"):
        if not values[name].strip():
            raise ValueError(f"has no {name}")
    if not values["password"] and not values["private_key"]:
        raise ValueError("has neither password nor private_key")
    if values["private_key"] and not re.match(
        r"\s*-----BEGIN [A-Z ]+-----\s", values["private_key"]
    ):
        raise ValueError("has a private_key that is not PEM with its lines kept (\\n in JSON)")
    if values["passphrase"] and not values["private_key"]:
        raise ValueError("has a passphrase and no private_key")


def pipeline_env(text: str) -> str:
    """Read the first path element of every object's name."""
    return _matching(r"[a-z][a-z0-9-]{0,31}", text)


def output_dir(text: str) -> str:
    """Read a path below the environment's, apart from the other objects there."""
    path = text.strip("/")
    _matching(r"[\w.-]+(/[\w.-]+)*", path)
    first, *_ = parts = path.split("/")
    if not {".", ".."}.isdisjoint(parts):
        raise ValueError("has '.' or '..' in it")
    if first == "metadata" or re.fullmatch(r"\d{4}", first):
        raise ValueError("is reserved for other objects")
    if len(path) > 200:
        raise ValueError("is longer than 200 characters")
    return path


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
            kind="gs", bucket=_matching(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", url.netloc)
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
            project=_matching(_PROJECT, url.netloc),
            database=_matching(r"\(default\)|[a-z][a-z0-9-]{1,61}[a-z0-9]", url.path[1:]),
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
    topic = _matching(r"(?!goog)[A-Za-z][\w.~+%-]{2,254}", url.path[1:])
    return _matching(_PROJECT, url.netloc), topic


def results_url(text: str) -> ResultsUrl:
    """Read the address of a topic, or of a receiver of webhooks, which may have a query."""
    address, _, query = text.partition("?")
    if address.startswith("pubsub:"):
        project, topic = _topic(_split(text))
        return ResultsUrl(kind="pubsub", project=project, topic=topic)
    url = _web_address(address)
    if url.scheme == "http" and not _LOOPBACK.fullmatch(url.hostname or ""):
        raise ValueError("is http, and results leave this machine over https only")
    # What a request line cannot contain (RFC 9112, section 3.2).
    _matching(r"[!-~]+", text)
    if "#" in query:
        raise ValueError("has '#' in it")
    return ResultsUrl(kind="webhook", address=text)


def webhook_secrets(text: str) -> tuple[Secret, ...]:
    """Read one or more secrets of Standard Webhooks; ``{}``, the first content, is none.

    A secret is ``whsec_`` and the base64 of 24 to 64 bytes ("Signature scheme").
    """
    if text == "{}":
        return ()
    secrets = text.split()
    for secret in secrets:
        try:
            key = base64.b64decode(
                _matching(r"whsec_[A-Za-z0-9+/]+=*", secret).removeprefix("whsec_"), validate=True
            )
        except ValueError:
            raise ValueError("is not whsec_ and base64") from None  # the cause shows the secret
        if not 24 <= len(key) <= 64:
            raise ValueError("is not of 24 to 64 bytes")
    return tuple(Secret(secret) for secret in secrets)


_PROJECT = r"[a-z0-9][a-z0-9.:-]{2,62}"


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


def drive_ids(text: str) -> tuple[str, ...]:
    """Read ids of Drive files or drives."""
    return _list(text, r"[\w-]+")


def emails(text: str) -> tuple[str, ...]:
    """Read e-mail addresses."""
    return _list(text, _EMAIL)


def email(text: str) -> str:
    """Read one e-mail address."""
    return _matching(_EMAIL, text)


_EMAIL = r"[^@\s,;:/<>]+@[^@\s,;:/<>]+"


def iap_audience(text: str) -> str:
    """Read the audience of IAP's signed header ("Securing your app with signed headers")."""
    return _matching(r"/projects/[0-9]+/[A-Za-z0-9._/-]+", text)


def hosts(text: str) -> tuple[str, ...]:
    """Read the names of hosts, in lower case."""
    names = [part.strip().lower() for part in text.split(",")]
    return tuple(_matching(r"[a-z0-9-]+(\.[a-z0-9-]+)*", name) for name in names if name)


def job_name(text: str) -> str:
    """Read the full name of a Cloud Run job, as its API wants it."""
    return _matching(
        r"projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/jobs/[a-z]([a-z0-9-]*[a-z0-9])?", text
    )


def cron(text: str) -> str:
    """Read the five fields of a cron schedule; ``serve`` checks their values."""
    _matching(r"\S+( +\S+){4}", text)
    return _matching(r"[\d*/,\-A-Za-z# ]+", text)


def time_zone(text: str) -> str:
    """Read the name of a time zone, as in the IANA database."""
    try:
        ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("is not a time zone") from None
    return text


def host(text: str) -> str:
    """Read a host's name or address."""
    if re.fullmatch(r"[^:]+:\d+", text):
        raise ValueError("has a port; set SFTP_PORT instead")
    return _matching(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+(%\w+)?", text)


def remote_path(text: str) -> str:
    """Read the path of a directory on a server."""
    if "\0" in text or "://" in text:
        raise ValueError("is not a path")
    return text.rstrip("/") or "/"


def day(text: str) -> date:
    """Read a date."""
    try:
        return date.fromisoformat(_matching(r"\d{4}-\d\d-\d\d", text))
    except ValueError:
        raise ValueError("is not a date") from None


def bitrate(text: str) -> int:
    """Read a bit rate, ``128k`` or ``128000``, in bits per second."""
    match = re.fullmatch(r"(\d{1,7})(k?)", text, re.ASCII | re.IGNORECASE)
    if not match:
        raise ValueError("is not a bit rate")
    value = int(match[1]) * (1000 if match[2] else 1)
    if not 8_000 <= value <= 510_000:
        raise ValueError("is out of range")
    return value


def wrong_rate(output_format: str, rate: int) -> str | None:
    """Return what is wrong with a sample rate for a format, or ``None``."""
    rates = _RATES.get(output_format)
    if rates is None or rate in rates:
        return None
    return f"is not a sample rate of {output_format} ({', '.join(map(str, rates))})"


def wrong_bitrate(output_format: str, rate: int, bits: int) -> str | None:
    """Return what is wrong with a bit rate for a format at a sample rate, or ``None``."""
    if output_format not in ("wav", "mp3"):
        return None
    # MPEG-1 audio allows 32k to 320k; MPEG-2, for lower rates, 8k to 160k; MPEG-2.5 to 64k.
    least, most = (32, 320) if rate >= 32_000 else (8, 160) if rate >= 16_000 else (8, 64)
    if least * 1000 <= bits <= most * 1000:
        return None
    return f"is not a bit rate of MP3 at this SAMPLE_RATE ({least}k to {most}k)"


def number(
    *, most: float, least: float | None = None, above: float | None = None
) -> Callable[[str], float]:
    """Return a parser of numbers from ``least``, or above ``above``, to ``most``."""

    def read(text: str) -> float:
        if not re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", text, re.ASCII):
            raise ValueError("is not a number")
        value = float(text)
        if value > most or (least is not None and value < least):
            raise ValueError("is out of range")
        if above is not None and value <= above:
            raise ValueError("is out of range")
        return value

    return read


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least`` to ``most``."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,15}", text, re.ASCII):
            raise ValueError("is not a whole number")
        if not least <= int(text) <= most:
            raise ValueError("is out of range")
        return int(text)

    return read


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser of one of the words ``allowed``."""
    return choice_of(allowed)


def choice_of(allowed: Collection[str]) -> Callable[[str], str]:
    """Return a parser of one of the words in a collection, which may grow."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError("has an unknown value")
        return text

    return read


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError("is not in the expected format")
    return text


def _list(text: str, pattern: str) -> tuple[str, ...]:
    items = [item.strip() for item in text.split(",")]
    return tuple(dict.fromkeys(_matching(pattern, item) for item in items if item))
