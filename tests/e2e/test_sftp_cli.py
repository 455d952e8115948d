"""``audio-pipeline compress`` as a person runs it, against OpenSSH's server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.media.clips import run, speech
from tests.sftp import Sshd, sshd  # noqa: F401 - a fixture

pytestmark = pytest.mark.timeout(120)

PROGRAM = Path(sys.executable).with_name("audio-pipeline")
LONG_AGO = 1_700_000_000

Compress = Callable[..., "subprocess.CompletedProcess[str]"]


def audio_pipeline(
    arguments: Sequence[str | Path], *, cwd: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [PROGRAM, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def arguments(server: Sshd, *options: str | Path) -> list[str | Path]:
    known = server.base / "known_hosts"
    known.write_text(server.known_hosts)
    address = f"sftp://{server.user}@127.0.0.1:{server.port}{server.root}"
    login: list[str | Path] = ["--identity", server.base / "client", "--known-hosts", known]
    return ["compress", address, *login, *options]


@pytest.fixture
def compress(sshd: Sshd, tmp_path: Path) -> Compress:  # noqa: F811
    def run_(*options: str | Path) -> subprocess.CompletedProcess[str]:
        return audio_pipeline(arguments(sshd, *options), cwd=tmp_path, env=environ(tmp_path))

    return run_


def environ(home: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), **more}


def put(server: Sshd, name: str, seconds: float = 1) -> None:
    path = server.root / name
    run(*speech(seconds, 16000, 1), path)
    os.utime(path, (LONG_AGO, LONG_AGO))


def test_sound_is_compressed_into_a_directory_once(sshd: Sshd, compress: Compress) -> None:  # noqa: F811
    put(sshd, "a.wav")
    (sshd.root / "bad.wav").write_bytes(b"RIFF....WAVE" * 50)
    os.utime(sshd.root / "bad.wav", (LONG_AGO, LONG_AGO))

    first = compress("--format", "mp3", "--out", "out")

    assert first.returncode == 1, first.stderr
    assert "a_compressed.mp3" in first.stdout
    assert "bad.wav" in first.stderr
    again = compress("--format", "mp3", "--out", "out", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, [])
    tried = compress("--format", "mp3", "--out", "out", "--json", "--retry-failed")
    assert tried.returncode == 1
    (document,) = json.loads(tried.stdout)
    assert (document["source_id"], document["attempts"]) == ("bad.wav", 1)


def test_a_failed_file_stays_visible_and_is_retried_when_asked(
    sshd: Sshd,  # noqa: F811
    compress: Compress,
    tmp_path: Path,
) -> None:
    put(sshd, "a.wav")
    (sshd.root / "bad.wav").write_bytes(b"RIFF....WAVE" * 50)
    os.utime(sshd.root / "bad.wav", (LONG_AGO, LONG_AGO))
    assert compress().returncode == 1

    again = compress()
    assert again.returncode == 0, again.stderr
    assert "2 files: 1 done, 1 failed earlier: --retry-failed" in again.stdout
    failed = audio_pipeline(["status", "--failed"], cwd=tmp_path, env=environ(tmp_path)).stdout
    assert "audio-pipeline compress sftp://USER@HOST/DIR --retry-failed" in failed

    # Where the settings name the server, the command works as it is printed.
    credentials = {
        "username": sshd.user,
        "known_hosts": sshd.known_hosts,
        "private_key": (sshd.base / "client").read_text(),
    }
    env = environ(
        tmp_path,
        SFTP_HOST="127.0.0.1",
        SFTP_PORT=str(sshd.port),
        SFTP_REMOTE_PATH=str(sshd.root),
        SFTP_CREDENTIALS=json.dumps(credentials),
    )
    failed = audio_pipeline(["status", "--failed"], cwd=tmp_path, env=env).stdout
    (recommended,) = {line.strip() for line in failed.splitlines() if "--retry-failed" in line}
    done = audio_pipeline(recommended.split()[1:], cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert "bad.wav" in done.stderr

    tried = compress("--retry-failed")
    assert tried.returncode == 1
    assert "bad.wav" in tried.stderr
    assert "2 files: 1 done, 1 failed\n" in tried.stdout


def test_a_format_on_the_command_line_makes_it_again(
    sshd: Sshd,  # noqa: F811
    compress: Compress,
    tmp_path: Path,
) -> None:
    put(sshd, "a.wav")
    assert compress().returncode == 0
    folder = tmp_path / "audio/dev/compressed"
    assert (folder / "a_compressed.wav").exists()

    planned = compress("--format", "mp3", "--dry-run")
    assert "compress again: it is done as wav" in planned.stdout
    made = compress("--format", "mp3")
    assert made.returncode == 0, made.stderr
    assert "1 file: 1 done, 1 new" in made.stdout
    assert sorted(path.name for path in folder.glob("a_*")) == ["a_compressed.mp3"]
    body = json.loads((folder / "manifest.json").read_text())
    assert [row["object"] for row in body["files"]] == ["dev/compressed/a_compressed.mp3"]
    assert "0 to do" in compress("--format", "mp3").stdout

    # The default or the environment asks for WAV, which may not be meant for this file.
    mentioned = compress()
    assert "0 to do" in mentioned.stdout
    assert "1 done as mp3; --format wav makes them again as wav" in mentioned.stdout
    # Both are in a file of the same name.
    assert compress("--format", "wav").returncode == 0
    wav = (folder / "a_compressed.wav").read_bytes()
    assert compress("--format", "pcm").returncode == 0
    assert (folder / "a_compressed.wav").read_bytes() != wav
    assert sorted(path.name for path in folder.glob("a_*")) == ["a_compressed.wav"]


def test_a_dry_run_changes_nothing(sshd: Sshd, compress: Compress, tmp_path: Path) -> None:  # noqa: F811
    put(sshd, "a.wav")
    planned = compress("--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert [one["action"] for one in json.loads(planned.stdout)] == ["compress"]
    assert not (tmp_path / "audio").exists()

    assert compress().returncode == 0
    put(sshd, "b.wav")
    files = content(tmp_path / "audio")
    assert compress("--dry-run", "--format", "mp3", "--retry-failed").returncode == 0
    assert content(tmp_path / "audio") == files


def content(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder, without SQLite's log, which opening may write."""
    paths = (path for path in folder.rglob("*") if path.is_file() and ".db-" not in path.name)
    return {path: path.read_bytes() for path in paths}


def test_json_is_an_array_of_documents(sshd: Sshd, compress: Compress, tmp_path: Path) -> None:  # noqa: F811
    put(sshd, "a.wav")
    done = compress("--json")
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    assert (document["status"], document["source_id"]) == ("DONE", "a.wav")
    body = json.loads((tmp_path / "audio/dev/compressed/manifest.json").read_text())
    assert [row["source"] for row in body["files"]] == ["a.wav"]


def test_audit_compares_the_server_the_manifest_and_the_objects(
    sshd: Sshd,  # noqa: F811
    compress: Compress,
    tmp_path: Path,
) -> None:
    put(sshd, "a.wav")
    put(sshd, "b.wav")
    assert compress().returncode == 0
    credentials = {
        "username": sshd.user,
        "known_hosts": sshd.known_hosts,
        "private_key": (sshd.base / "client").read_text(),
    }
    server = {
        "SFTP_HOST": "127.0.0.1",
        "SFTP_PORT": str(sshd.port),
        "SFTP_REMOTE_PATH": str(sshd.root),
        "SFTP_CREDENTIALS": json.dumps(credentials),
    }

    def audit() -> subprocess.CompletedProcess[str]:
        return audio_pipeline(["audit"], cwd=tmp_path, env=environ(tmp_path, **server))

    clean = audit()
    assert clean.returncode == 0, clean.stderr
    assert "SFTP server: 2 seen = 2 done" in clean.stdout

    put(sshd, "unseen.wav")
    manifest = tmp_path / "audio/dev/compressed/manifest.json"
    body = json.loads(manifest.read_text())
    body["files"] = [row for row in body["files"] if row["source"] != "a.wav"]
    manifest.write_text(json.dumps(body))
    wrong = audit()
    assert wrong.returncode == 1
    assert "unseen.wav" in wrong.stderr
    assert "the manifest has no row" in wrong.stderr


def test_a_run_continues_after_a_killed_one(sshd: Sshd, tmp_path: Path) -> None:  # noqa: F811
    for number in range(3):
        put(sshd, f"{number}.wav", 200 if number == 0 else 1)
    env = environ(tmp_path, LEASE_SECONDS="2", ENCODE_WORKERS="1")
    options: dict[str, Any] = {"cwd": tmp_path, "env": env, "stdin": subprocess.DEVNULL}
    killed = subprocess.Popen([PROGRAM, *arguments(sshd)], stdout=subprocess.PIPE, **options)
    assert killed.stdout is not None
    assert killed.stdout.readline()  # the summary: the files are in the tracker
    time.sleep(0.5)  # any moment after it will do
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()

    done = audio_pipeline(arguments(sshd), cwd=tmp_path, env=env)

    assert done.returncode == 0, done.stderr
    body = json.loads((tmp_path / "audio/dev/compressed/manifest.json").read_text())
    assert body["totals"]["files"] == 3


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("ftp://ann:secret@host/audio", "sftp://USER@HOST"),
        ("sftp://ann:secret@host:port/audio", "sftp://USER@HOST"),
        ("/audio", "sftp://USER@HOST"),
    ],
)
def test_a_wrong_address_is_wrong_usage_and_not_repeated(
    tmp_path: Path, address: str, words: str
) -> None:
    said = subprocess.run(
        [PROGRAM, "compress", address],
        cwd=tmp_path,
        env=environ(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert words in said.stderr
    assert "secret" not in said.stderr


def test_an_unknown_host_key_stops_it(sshd: Sshd, compress: Compress) -> None:  # noqa: F811
    put(sshd, "a.wav")
    said = compress("--known-hosts", "/dev/null")
    assert said.returncode == 2
    assert "--accept-new" in said.stderr
