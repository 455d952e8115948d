"""``audio-pipeline compress``: runs the nightly compression of one SFTP server, here and now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import click

from cli import exits, ssh
from cli.app import App, load
from cli.local_runner import LocalRunner
from cli.options import Command, Invocation, as_json, dry_run
from cli.stop import Stop
from cli.ui import json_output
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.report import listed, print_result
from cli.ui.text import shown
from functions.sftp_compress.assembly import build_nightly, build_worker
from shared.core.counts import counted
from shared.core.errors import Code
from shared.core.message import SourceFile
from shared.core.ports import ByteSource, Sources
from shared.core.records import Recording, Status
from shared.media import presets
from shared.tracking.lease import Outcome

_FORMATS = click.Choice(["wav", "mp3", "opus", "flac", "pcm"])


@dataclass(frozen=True)
class Address:
    """The parts of ``sftp://user@host:port/path``; the user and port may be left out."""

    username: str
    host: str
    port: int | None
    path: str


def _read(_: click.Context, parameter: click.Parameter, value: str | None) -> Address | None:
    if value is None:
        return None
    try:
        return parse_address(value)
    except ValueError as error:
        # The address may contain a password, so it is not repeated.
        raise click.BadParameter(str(error), param=parameter) from None


def parse_address(text: str) -> Address:
    """Read an address; raises ``ValueError`` with a message that does not repeat it."""
    try:
        url = urlsplit(text)
        host, port, password = url.hostname, url.port, url.password
    except ValueError:
        host, port, password = None, None, None
    if host is None or url.scheme != "sftp" or url.query or url.fragment:
        raise ValueError("it must be sftp://USER@HOST:PORT/DIRECTORY")
    if password is not None:
        raise ValueError(
            "it contains a password, which other users of this machine can read: leave it out,"
            " and use ssh-agent, --identity or SFTP_CREDENTIALS, or type it when asked"
        )
    # urlsplit lowers the case, which an alias of ~/.ssh/config may have.
    start = text.lower().find(host, len("sftp://"))
    return Address(
        username=unquote(url.username or ""),
        host=text[start : start + len(host)],
        port=port,
        path=unquote(url.path).rstrip("/") or "/",
    )


@click.command(
    cls=Command,
    examples="audio-pipeline compress sftp://ann@files.example.com/audio\n"
    "audio-pipeline compress sftp://files.example.com/audio --format opus --settle 0\n"
    "audio-pipeline compress sftp://files.example.com/audio --retry-failed",
)
@click.argument("address", callback=_read, required=False, metavar="[sftp://USER@HOST/DIRECTORY]")
@click.option(
    "--identity",
    "-i",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Private key; the default is what ssh would use.",
)
@click.option(
    "--known-hosts",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the server's host key.  [default: ~/.ssh/known_hosts]",
)
@click.option(
    "--accept-new",
    is_flag=True,
    help="Trust a server that is not in the known hosts, and add its key there.",
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
    address: Address | None,
    identity: Path | None,
    known_hosts: Path | None,
    accept_new: bool,
    output_format: str | None,
    out: str | None,
    settle: str | None,
    retry_failed: bool,
    dry_run: bool,
    json: bool,
) -> int:
    """Compress the audio files below a DIRECTORY of an SFTP server, each once.

    Files that are done are skipped, unless --format asks for another format: then the new
    audio replaces the old. Files that failed are skipped until they change or
    --retry-failed is given. Nothing on the server is changed. Without an address the
    settings name the server: SFTP_HOST, SFTP_PORT and SFTP_REMOTE_PATH.

    The login is SFTP_CREDENTIALS or what ssh would use: ssh-agent, ~/.ssh/config, your
    keys, and a password that you are asked for.
    """
    host = ssh.resolve(address.host, address.port, address.username) if address else None
    options = {
        "STORAGE_URL": out,
        "OUTPUT_FORMAT": output_format,
        "SFTP_SETTLE_MINUTES": settle,
        "SFTP_QUEUE_URL": "local://",
        "SFTP_HOST": host.host if host else None,
        "SFTP_PORT": str(host.port) if host else None,
        "SFTP_REMOTE_PATH": address.path if address else None,
    }
    app = load(invocation, options, read_only=dry_run)
    if host is None:
        if not app.settings.sftp_host:
            raise click.UsageError("a server is required: sftp://USER@HOST/DIRECTORY, or SFTP_HOST")
        host = ssh.resolve(app.settings.sftp_host, app.settings.sftp_port)
    credentials = app.settings.sftp_credentials
    if credentials and not identity:
        pinned = ssh.read_if_there(known_hosts) if known_hosts else credentials.known_hosts
        username = (address and address.username) or credentials.username
        app.sftp_login = replace(credentials, username=username, known_hosts=pinned)
    else:
        app.sftp_login = ssh.login(
            host, identity=identity, known_hosts=known_hosts, accept_new=accept_new
        )
    run = CompressRun(
        app, Stop(), quiet=json or invocation.quiet, retry_failed=retry_failed,
        remake=output_format is not None,
    )  # fmt: skip
    if dry_run:
        run.plan()
    else:
        app.check_reachable()
        # Results of earlier runs; a receiver that is down costs 10 s.
        app.tracker.announce_due(max_failures=1)
        with run.stop.on_signals():
            run.compress()
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
    """One run of the command: what it has done so far.

    ``remake`` makes audio again that has another format than the one of the settings.
    """

    app: App
    stop: Stop
    quiet: bool
    retry_failed: bool = False
    remake: bool = False
    status: int = exits.OK
    documents: list[Recording | dict[str, Any]] = field(default_factory=list)

    def compress(self) -> None:
        """List the server, and compress what is new."""
        nightly = build_nightly(
            self.app,
            resume=True,
            retry_failed=self.retry_failed,
            remake_as=self._preset if self.remake else "",
        )
        sources = ListedSources(nightly.sources)
        counts = replace(nightly, sources=sources).run()
        items = self.app.local_queue.items
        if not self.quiet:
            screen.line(f"{counts['found']:,} found, {len(items):,} to do")
            if counts["unsettled"]:
                minutes = self.app.settings.sftp_settle_minutes
                screen.line(
                    f"{counts['unsettled']:,} still changing: a run takes them once they are"
                    f" {minutes:g} minutes old; --settle 0 takes them now"
                )
            if passed := nightly.passed_over.count:
                names = listed(nightly.passed_over.names, passed)
                screen.line(f"{passed:,} passed over, not audio by name: {names}")
        worker = build_worker(self.app)
        runner = LocalRunner(self.app, worker, self.stop)
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
        if not self.stop.requested():
            worker.merge_manifest(now=True)
        ends = [
            one.error and one.error.code for one in self.documents if isinstance(one, Recording)
        ]
        if ends and all(code == Code.SUPERSEDED for code in ends):
            screen.line(
                "Every file differed from its listing when it was opened. Either all of them are"
                " being written, or the server reports other sizes or times each time.",
                error=True,
            )
            self.status = max(self.status, exits.FAILED)
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
        screen.line((f"{counted(len(keys), 'file')}: ", "bold"), text or "nothing to do")
        wanted = self.app.settings.output_format
        for made, count in Counter(filter(None, map(self._other_format, found))).items():
            note = f"{count:,} done as {made}; --format {wanted} makes them again as {wanted}"
            screen.line("  ", (note, "dim"))

    @property
    def _preset(self) -> str:
        return presets.compression_preset(self.app.settings.output_format)

    def _other_format(self, one: Recording) -> str:
        """Return the format of a DONE file where the settings ask for another, or empty."""
        if one.status is not Status.DONE or one.audio is None or one.audio.preset == self._preset:
            return ""
        return one.audio.preset.removeprefix(presets.compression_preset(""))

    def plan(self) -> None:
        """Print what would be done with each file."""
        settle = timedelta(minutes=self.app.settings.sftp_settle_minutes)
        now = self.app.tracker.clock()
        for item in self.app.sftp_sources.list():
            known = self.app.tracker.get(item.key)
            if abs(now - item.created_at) < settle:
                action = "wait: it is still changing"
            elif known is None or not known.status.is_final:
                action = "compress"
            elif self.remake and (made := self._other_format(known)):
                action = f"compress again: it is done as {made}"
            elif self.retry_failed and known.status is Status.FAILED:
                action = "compress again: it failed"
            else:
                action = f"skip: it is {known.status.lower()}"
            self.documents.append({"name": item.source_id, "key": item.key, "action": action})
            if not self.quiet:
                screen.line(f"{screen.marks.waiting} {shown(item.source_id)}  ", (action, "dim"))
