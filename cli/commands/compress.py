"""``audio-pipeline compress``: runs the nightly compression of one SFTP server, here and now."""

from __future__ import annotations

import getpass
import json as json_format
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from cli import exits
from cli.app import App, load
from cli.local_runner import LocalRunner
from cli.options import Command, Invocation, as_json, dry_run
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.report import print_result
from cli.ui.text import shown
from functions.sftp_compress.assembly import build_nightly, build_worker
from shared.core.errors import ConfigurationError
from shared.core.message import SourceFile
from shared.core.ports import ByteSource, Sources
from shared.core.records import Recording, Status
from shared.tracking.lease import Outcome

_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")

_FORMATS = click.Choice(["wav", "mp3", "opus", "flac", "pcm"])


@dataclass(frozen=True)
class Address:
    """The parts of ``sftp://user@host:port/path``."""

    username: str
    password: str
    host: str
    port: int
    path: str


def _read(_: click.Context, parameter: click.Parameter, value: str) -> Address:
    try:
        return parse_address(value)
    except ValueError:
        # The address may contain a password, so it is not repeated.
        raise click.BadParameter(
            "it must be sftp://USER@HOST:PORT/DIRECTORY", param=parameter
        ) from None


def parse_address(text: str) -> Address:
    """Read an address; raises ``ValueError``."""
    url = urlsplit(text)
    if url.scheme != "sftp" or not url.hostname or url.query or url.fragment:
        raise ValueError("not an SFTP address")
    return Address(
        username=unquote(url.username or "") or getpass.getuser(),
        password=unquote(url.password or ""),
        host=url.hostname,
        port=url.port or 22,
        path=unquote(url.path).rstrip("/") or "/",
    )


@click.command(
    cls=Command,
    examples="audio-pipeline compress sftp://ann@files.example.com/audio\n"
    "audio-pipeline compress sftp://files.example.com/audio --format opus --settle 0\n"
    "audio-pipeline compress sftp://files.example.com/audio --retry-failed",
)
@click.argument("address", callback=_read, metavar="sftp://USER@HOST/DIRECTORY")
@click.option(
    "--identity",
    "-i",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key; the default is a key of ~/.ssh, or a password.",
)
@click.option(
    "--known-hosts",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path.home() / ".ssh" / "known_hosts",
    show_default="~/.ssh/known_hosts",
    help="File with the server's host key.",
)
@click.option("--format", "output_format", type=_FORMATS, help="Output format (OUTPUT_FORMAT).")
@click.option("--out", metavar="URL", help="Where the audio goes (STORAGE_URL).")
@click.option(
    "--settle",
    metavar="MINUTES",
    help="Skip files changed in the last MINUTES (SFTP_SETTLE_MINUTES).",
)
@click.option("--retry-failed", is_flag=True, help="Try failed files again.")
@dry_run
@as_json
@click.pass_obj
def compress(
    invocation: Invocation,
    address: Address,
    identity: Path | None,
    known_hosts: Path,
    output_format: str | None,
    out: str | None,
    settle: str | None,
    retry_failed: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Compress the audio files below a DIRECTORY of an SFTP server, each once.

    Files that are done are skipped, and so are files that failed, until they change or
    --retry-failed is given. Nothing on the server is changed.
    """
    options = {
        "STORAGE_URL": out,
        "OUTPUT_FORMAT": output_format,
        "SFTP_SETTLE_MINUTES": settle,
        "SFTP_QUEUE_URL": "local://",
        "SFTP_HOST": address.host,
        "SFTP_PORT": str(address.port),
        "SFTP_REMOTE_PATH": address.path,
        "SFTP_CREDENTIALS": credentials(address, identity, known_hosts),
    }
    app = load(invocation, options, read_only=dry_run)
    run = CompressRun(app, Stop(), quiet=json or invocation.quiet)
    if dry_run:
        run.plan(retry_failed=retry_failed)
    else:
        app.check_reachable()
        with run.stop.on_signals():
            run.compress(retry_failed=retry_failed)
    if json:
        json_output.write(run.documents)
    return exits.INTERRUPTED if run.stop.requested() else run.status


class ListedSources:
    """The files of a server; remembers the keys of those that were listed."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self.keys: list[str] = []

    def open(self, item: SourceFile) -> ByteSource:
        """Open a file as ``Sources.open`` does."""
        return self._sources.open(item)

    def list(self) -> Iterator[SourceFile]:
        """Yield the files as ``Sources.list`` does."""
        for item in self._sources.list():
            self.keys.append(item.key)
            yield item


@dataclass
class CompressRun:
    """One run of the command: what it has done so far."""

    app: App
    stop: Stop
    quiet: bool
    status: int = exits.OK
    documents: list[Recording | dict[str, Any]] = field(default_factory=list)

    def compress(self, *, retry_failed: bool) -> None:
        """List the server, and compress what is new."""
        nightly = build_nightly(self.app.services, resume=True, retry_failed=retry_failed)
        sources = ListedSources(nightly.sources)
        counts = replace(nightly, sources=sources).run()
        items = self.app.services.local_queue.items
        if not self.quiet:
            screen.line(f"{counts['found']:,} found, {len(items):,} to do")
        runner = LocalRunner(self.app, build_worker(self.app.services), self.stop)
        tried: set[str] = set()
        new = 0
        for number, item in enumerate(items, 1):
            if self.stop.requested():
                break
            tried.add(item.key)
            position = f"[{number}/{len(items)}]" if len(items) > 1 else ""
            with bar(
                item.source_id, item.size_bytes, position=position, quiet=self.app.quiet
            ) as drawn:
                result = runner.run_by_hand(item, drawn.update, drawn.waiting)
            new += result.outcome is Outcome.DONE
            if result.recording:
                self.documents.append(result.recording)
            self.status = max(self.status, print_result(result, item.source_id, quiet=self.quiet))
        if not self.quiet:
            self._print_summary(sources.keys, tried, new, counts["unsettled"])

    def _print_summary(self, keys: list[str], tried: set[str], new: int, unsettled: int) -> None:
        found = [one for key in keys if (one := self.app.tracker.get(key))]
        ended = Counter(one.status for one in found)
        earlier = sum(one.status is Status.FAILED and one.key not in tried for one in found)
        parts = [
            (ended[Status.DONE], "done"),
            (new, "new"),
            (ended[Status.SKIPPED], "skipped"),
            (ended[Status.FAILED] - earlier, "failed"),
            (ended[Status.QUEUED], "not done yet"),
            (unsettled, "still changing"),
            (earlier, "failed earlier: --retry-failed"),
        ]
        text = ", ".join(f"{count:,} {word}" for count, word in parts if count)
        screen.line((f"{len(keys):,} files: ", "bold"), text or "nothing to do")

    def plan(self, *, retry_failed: bool) -> None:
        """Print what would be done with each file."""
        settle = timedelta(minutes=self.app.settings.sftp_settle_minutes)
        now = self.app.tracker.clock()
        for item in self.app.services.sftp_sources.list():
            known = self.app.tracker.get(item.key)
            if abs(now - item.created_at) < settle:
                action = "wait: it is still changing"
            elif known is None or not known.status.is_final:
                action = "compress"
            elif retry_failed and known.status is Status.FAILED:
                action = "compress again: it failed"
            else:
                action = f"skip: it is {known.status.lower()}"
            self.documents.append({"name": item.source_id, "key": item.key, "action": action})
            if not self.quiet:
                screen.line(f"{screen.marks.waiting} {shown(item.source_id)}  ", (action, "dim"))


def credentials(address: Address, identity: Path | None, known_hosts: Path) -> str:
    """Return the JSON of ``SFTP_CREDENTIALS``; ask for a password if there is no key.

    Raises ``ConfigurationError`` without a terminal to ask on.
    """
    found: dict[str, str] = {
        "username": address.username,
        "known_hosts": _text(known_hosts) or "# none",
    }
    key = "" if address.password and not identity else _private_key(identity)
    if key:
        found["private_key"] = key
    if address.password:
        found["password"] = address.password
    elif not key:
        found["password"] = _asked(f"Password of {address.username}@{address.host}")
    if key and _is_locked(key):
        found["passphrase"] = _asked("Passphrase of the key")
    return json_format.dumps(found)


def _private_key(identity: Path | None) -> str:
    folder = Path.home() / ".ssh"
    candidates: Sequence[Path] = [identity] if identity else [folder / n for n in _IDENTITIES]
    return next(filter(None, map(_text, candidates)), "")


def _is_locked(key: str) -> bool:
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        load_pem_private_key,
        load_ssh_private_key,
    )

    load = load_ssh_private_key if "OPENSSH PRIVATE KEY" in key else load_pem_private_key
    try:
        load(key.encode(), None)
    except TypeError:
        return True
    except ValueError:
        return False  # the login reports what is wrong with it
    return False


def _asked(what: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            [f"{shown(what)} is needed: use a key without a passphrase, or run on a terminal"]
        )
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
