"""``audio-pipeline compress``: the nightly run of one SFTP server, by hand and on this machine."""

from __future__ import annotations

import getpass
import json as json_format
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from cli import exits
from cli.app import App, load
from cli.local_runner import Extraction
from cli.options import as_json
from cli.stop import Stop
from cli.ui import json_output, report
from cli.ui.console import screen
from cli.ui.progress import bar
from cli.ui.text import shown
from functions.sftp_compress.assembly import build_nightly, build_worker
from shared.core.errors import ConfigurationError
from shared.core.message import SourceFile
from shared.tracking.lease import Result

_IDENTITIES = ("id_ed25519", "id_ecdsa", "id_rsa")

_FORMATS = click.Choice(["wav", "mp3", "opus", "flac", "pcm"])


@dataclass(frozen=True)
class Address:
    """What ``sftp://user@host:port/path`` says."""

    username: str
    password: str
    host: str
    port: int
    path: str


def _read(_: click.Context, parameter: click.Parameter, value: str) -> Address:
    try:
        return parse_address(value)
    except ValueError:
        # The address may hold a password, so it is not repeated.
        raise click.BadParameter(
            "it is not sftp://USER@HOST:PORT/DIRECTORY", param=parameter
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


@click.command()
@click.argument("address", callback=_read, metavar="sftp://USER@HOST/DIRECTORY")
@click.option(
    "--identity",
    "-i",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private key to log in with; else the usual ones of ~/.ssh, else a password.",
)
@click.option(
    "--known-hosts",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path.home() / ".ssh" / "known_hosts",
    show_default="~/.ssh/known_hosts",
    help="Where the server's host key is.",
)
@click.option("--format", "output_format", type=_FORMATS, help="What is made (OUTPUT_FORMAT).")
@click.option("--out", metavar="URL", help="Where it goes (STORAGE_URL).")
@click.option("--settle", metavar="MINUTES", help="Leave what changed since (SFTP_SETTLE_MINUTES).")
@click.option("--retry-failed", is_flag=True, help="Try again what has failed.")
@as_json
@click.pass_obj
def compress(
    verbose: bool,
    address: Address,
    identity: Path | None,
    known_hosts: Path,
    output_format: str | None,
    out: str | None,
    settle: str | None,
    retry_failed: bool,
    json: bool,
) -> int:
    """Compress the sound below a DIRECTORY of an SFTP server, each file once.

    What is done already is left alone, and so is what failed until it changes.
    Nothing on the server is changed.
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
    app, stop = load(options, verbose=verbose), Stop()
    app.check_reachable()
    with stop.on_signals():
        status, results = _run(app, stop, quiet=json, retry_failed=retry_failed)
    if json:
        json_output.write([result.recording for result in results if result.recording])
    return exits.INTERRUPTED if stop.requested() else status


def _run(app: App, stop: Stop, *, quiet: bool, retry_failed: bool) -> tuple[int, list[Result]]:
    summary = build_nightly(app.services, resume=True, retry_failed=retry_failed).run()
    if not quiet:
        screen.line(
            f"{summary['found']} found, {summary['queued']} to do, {summary['known']} known, "
            f"{summary['unsettled']} still changing"
        )
    extraction = Extraction(app, build_worker(app.services), stop)
    status, results = exits.OK, []
    for item in app.services.local_queue.items:
        if stop.requested():
            break
        results.append(_one(extraction, item))
        status = max(status, report.told(results[-1], item.source_id, quiet=quiet))
    return status, results


def _one(extraction: Extraction, item: SourceFile) -> Result:
    with bar(item) as shown_bar:

        def on_wait(why: str) -> None:
            shown_bar.waiting(why)

        return extraction.by_hand(item, shown_bar.update, on_wait)


def credentials(address: Address, identity: Path | None, known_hosts: Path) -> str:
    """Return the JSON of ``SFTP_CREDENTIALS``; asks for a password where there is nothing else.

    Raises ``ConfigurationError`` when there is nobody to ask.
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
        return False  # the login tells what is wrong with it
    return False


def _asked(what: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigurationError(
            [f"{shown(what)} is needed: name a key that is open, or run it on a terminal"]
        )
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
