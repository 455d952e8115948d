"""Parsers of environment variables, one function for each kind of value but addresses.

Each raises ``ValueError`` with the end of a sentence that starts with the variable's name.
No message repeats the value, except a short word that is not an allowed one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from shared.config.secret import Secret
from shared.core import untrusted_json

MP3_MAX_BITRATE = 320_000


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
        for name in ("username", "known_hosts"):
            if not values[name].strip():
                raise ValueError(f"has no {name}")
        key = values["private_key"]
        if not values["password"] and not key:
            raise ValueError("has neither password nor private_key")
        if key and not re.match(r"\s*-----BEGIN [A-Z ]+-----\s", key):
            raise ValueError("has a private_key that is not PEM with line breaks (\\n in JSON)")
        if values["passphrase"] and not key:
            raise ValueError("has a passphrase and no private_key")
        return cls(
            username=values["username"],
            known_hosts=values["known_hosts"],
            **{name: Secret(values[name]) for name in known[2:] if values[name]},
        )


def pipeline_env(text: str) -> str:
    """Read the first path element of every object's name."""
    return matching(r"[a-z][a-z0-9-]{0,31}", text)


def output_dir(text: str) -> str:
    """Read a path below the environment's, apart from the other objects there."""
    path = text.strip("/")
    matching(r"[\w.-]+(/[\w.-]+)*", path)
    first, *_ = parts = path.split("/")
    if not {".", ".."}.isdisjoint(parts):
        raise ValueError("has '.' or '..' in it")
    if first == "metadata" or re.fullmatch(r"\d{4}", first):
        raise ValueError("is reserved for other objects")
    if len(path) > 200:
        raise ValueError("is longer than 200 characters")
    return path


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
                matching(r"whsec_[A-Za-z0-9+/]+=*", secret).removeprefix("whsec_"), validate=True
            )
        except ValueError:
            raise ValueError("is not whsec_ and base64") from None  # the cause shows the secret
        if not 24 <= len(key) <= 64:
            raise ValueError("is not of 24 to 64 bytes")
    return tuple(Secret(secret) for secret in secrets)


def drive_ids(text: str) -> tuple[str, ...]:
    """Read ids of Drive files or drives."""
    return _list(text, r"[\w-]+")


def emails(text: str) -> tuple[str, ...]:
    """Read e-mail addresses."""
    return _list(text, _EMAIL)


def email(text: str) -> str:
    """Read one e-mail address."""
    return matching(_EMAIL, text)


_EMAIL = r"[^@\s,;:/<>]+@[^@\s,;:/<>]+"


def secret_key(text: str) -> Secret:
    """Read a key that signs."""
    if len(text) < 32:
        raise ValueError("is shorter than 32 characters")
    return Secret(text)


def iap_audience(text: str) -> str:
    """Read the audience of IAP's signed header ("Securing your app with signed headers")."""
    return matching(r"/projects/[0-9]+/[A-Za-z0-9._/-]+", text)


def push_audience(text: str) -> str:
    """Read the audience of a push subscription's tokens: any text, by convention an address."""
    return matching(r"[!-~]{1,255}", text)


def hosts(text: str) -> tuple[str, ...]:
    """Read the names of hosts, in lower case."""
    names = [part.strip().lower() for part in text.split(",")]
    return tuple(matching(r"[a-z0-9-]+(\.[a-z0-9-]+)*", name) for name in names if name)


def job_name(text: str) -> str:
    """Read the full name of a Cloud Run job, as its API wants it."""
    return matching(
        r"projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/jobs/[a-z]([a-z0-9-]*[a-z0-9])?", text
    )


def cron(text: str) -> str:
    """Read the five fields of a cron schedule; ``serve`` checks their values."""
    matching(r"\S+( +\S+){4}", text)
    return matching(r"[\d*/,\-A-Za-z# ]+", text)


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
    return matching(r"[\w.-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]+(%\w+)?", text)


def remote_path(text: str) -> str:
    """Read the path of a directory on a server."""
    if "\0" in text or "://" in text:
        raise ValueError("is not a path")
    return text.rstrip("/") or "/"


def day(text: str) -> date:
    """Read a date."""
    try:
        return date.fromisoformat(matching(r"\d{4}-\d\d-\d\d", text))
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


def choice(allowed: Collection[str]) -> Callable[[str], str]:
    """Return a parser of one of the words in a collection, which may grow."""

    def read(text: str) -> str:
        if text in allowed:
            return text
        # Anything but a short word of letters and digits may be a password, put here by mistake.
        given = f", not '{text}'" if re.fullmatch(r"[A-Za-z0-9]{1,8}", text, re.ASCII) else ""
        raise ValueError(f"must be {words(allowed)}{given}")

    return read


def words(allowed: Collection[str]) -> str:
    """Return the words as a list in a sentence: ``mp3, copy or opus``."""
    *others, last = allowed
    return f"{', '.join(others)} or {last}"


def matching(pattern: str, text: str) -> str:
    """Return ``text`` if all of it matches; raises ``ValueError`` otherwise."""
    if not re.fullmatch(pattern, text, re.ASCII):
        raise ValueError("is not in the expected format")
    return text


def _list(text: str, pattern: str) -> tuple[str, ...]:
    items = [item.strip() for item in text.split(",")]
    return tuple(dict.fromkeys(matching(pattern, item) for item in items if item))
