"""The command as people and scripts run it: a process of its own, in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.demo.drive_standin.identity import key_file
from cli.demo.sample import arguments
from shared.adapters.local.documents import SQLiteDocuments
from shared.bootstrap import Services
from shared.core.message import SourceFile
from shared.core.records import COLLECTION, Audio, Recording, Status
from shared.core.times import time_as_json
from shared.tracking.tracker import Tracker
from tests.drive.standin import READER, StandIn
from tests.drive.standin import running as standin
from tests.emulators import missing
from tests.media.clips import run, speech
from tests.services import until

pytestmark = pytest.mark.slow(65)

COMMAND = Path(sys.executable).with_name("audio-pipeline")
PATIENCE_S = 60

_Process = subprocess.Popen[bytes]


@dataclass
class Cli:
    """The command in a folder, with an environment that names nothing of this machine's."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str | bytes | Path, **options: Any) -> _Process:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**inherited, "LANG": "C.UTF-8", **self.environ},
            stdin=subprocess.DEVNULL,
            **options,
        )

    def __call__(self, *arguments: str | bytes | Path, status: int = 0) -> Output:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == status, err.decode()
        return Output(out, err.decode())

    def documents(self) -> list[dict[str, Any]]:
        """Return the tracker's documents as ``status --json`` prints them."""
        database = next(self.folder.rglob("tracker.db"), None)
        if database is None:
            return []
        recordings = Tracker(SQLiteDocuments(database), lease=timedelta(seconds=60)).recent(1000)
        text = json.dumps([one.to_document() for one in recordings], default=time_as_json)
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def audio(self) -> list[Path]:
        """Return every audio file below the storage, finished or not, hidden or not."""
        found = (self.folder / "audio").rglob("*.*")
        return sorted(path for path in found if "mp3" in path.name or ".part" in path.name)


@dataclass(frozen=True)
class Output:
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def documents(self) -> list[dict[str, Any]]:
        found = json.loads(self.raw)
        assert isinstance(found, list)
        return found

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.raw.splitlines()]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a meeting."""
    path = tmp_path_factory.mktemp("spoken") / "spoken.mp4"
    run(*speech(3, 44100, 1), "-c:a", "aac", path)
    return path


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour of near silence in half a megabyte, which is encoded for seconds."""
    path = tmp_path_factory.mktemp("lasting") / "lasting.mkv"
    minute = path.with_name("minute.mkv")
    run("-f", "lavfi", "-i", "sine=f=50:r=48000:d=60,volume=0.0001", "-c:a", "flac", minute)
    run("-stream_loop", "59", "-i", minute, "-c", "copy", path)
    return path


@pytest.fixture
def meeting(cli: Cli, spoken: Path) -> Path:
    return copied(spoken, cli.folder / "meeting.mp4")


def copied(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source.read_bytes())
    return target


# extract


def test_a_recording_becomes_audio_and_is_reported(cli: Cli, meeting: Path) -> None:
    output = cli("extract", meeting)

    [document] = cli.documents()
    audio = cli.folder / "audio" / document["gcs_path"]
    assert document["status"] == "DONE"
    assert audio.stat().st_size == document["audio"]["bytes"]
    assert str(audio.relative_to(cli.folder)) in output.out
    assert "3.0 s" in output.out
    assert output.err == ""


def test_json_is_the_documents_and_nothing_else(cli: Cli, meeting: Path) -> None:
    golden = json.loads(Path("tests/fixtures/documents/done.json").read_text())

    [document] = cli("extract", "--json", meeting).documents

    assert document.keys() == golden.keys()
    assert document["audio"].keys() == golden["audio"].keys()
    assert Recording.from_document(document).to_document()["name"] == "meeting.mp4"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", document["finished_at"])
    assert cli.documents() == [document]


def test_one_bad_file_does_not_stop_the_others(cli: Cli, meeting: Path) -> None:
    (cli.folder / "text.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    (cli.folder / "empty.mp4").touch()

    output = cli("extract", "nowhere.mp4", "text.mp4", "empty.mp4", meeting, status=1)

    assert "There is no file nowhere.mp4" in output.err
    assert "not_a_recording" in output.err
    assert "meeting.mp4" in output.out
    statuses = {one["name"]: one["status"] for one in cli.documents()}
    assert statuses == {"text.mp4": "FAILED", "empty.mp4": "FAILED", "meeting.mp4": "DONE"}


def test_a_recording_without_sound_is_skipped_and_no_failure(cli: Cli) -> None:
    silent = cli.folder / "silent.mp4"
    run("-f", "lavfi", "-i", "testsrc2=s=64x64:r=5:d=1", silent)

    output = cli("extract", silent)

    assert "skipped" in output.out
    assert cli.documents()[0]["error"]["code"] == "no_audio"


def test_a_done_recording_is_reported_and_left_alone(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    before = cli.documents()

    assert "already done" in cli("extract", meeting).out
    assert cli.documents() == before

    cli("extract", "--force", meeting)
    assert cli.documents()[0]["attempts"] == 1  # counted from zero
    assert cli.documents()[0]["finished_at"] > before[0]["finished_at"]


def test_audio_that_was_removed_or_spoiled_is_made_again(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    audio = cli.folder / "audio" / cli.documents()[0]["gcs_path"]
    whole = audio.read_bytes()

    audio.unlink()
    assert "already done" not in cli("extract", meeting).out
    assert audio.read_bytes() == whole

    audio.write_bytes(whole[:-1])
    cli("extract", meeting)
    # The file there may not be ours, so it is not overwritten.
    another = cli.folder / "audio" / cli.documents()[0]["gcs_path"]
    assert another != audio
    assert another.read_bytes() == whole


def test_failed_recordings_are_tried_again(cli: Cli, spoken: Path) -> None:
    target = cli.folder / "cut.mp4"
    content = spoken.read_bytes()
    target.write_bytes(content[:-1] + b"x")
    os.truncate(target, 0)
    cli("extract", target, status=1)
    before = cli.documents()[0]["finished_at"]

    cli("extract", target, status=1)

    [document] = cli.documents()
    assert document["finished_at"] > before


def test_a_folder_is_searched_without_its_own_output(cli: Cli, spoken: Path) -> None:
    copied(spoken, cli.folder / "one.mp4")
    copied(spoken, cli.folder / "below/two.mp4")
    copied(spoken, cli.folder / ".hidden/three.mp4")

    cli("extract", ".")
    cli("extract", ".")

    assert {one["name"] for one in cli.documents()} == {"one.mp4", "two.mp4"}


def test_options_stand_in_for_variables(cli: Cli, meeting: Path) -> None:
    cli("extract", "--preset", "opus", "--bitrate", "32k", "--out", "elsewhere", meeting)

    [document] = cli.documents()
    assert document["audio"]["codec"] == "opus"
    assert (cli.folder / "elsewhere" / document["gcs_path"]).is_file()


ODD_NAMES = [
    b"new\nline.mp4",
    b"quotes '\" $HOME `id`.mp4",
    "эфир 会議 👩‍💻.mp4".encode(),
    b"[bold]markup[dim].mp4",
    b"\x1b[31mred.mp4",
    b"-dash.mp4",
    b"not \xff\xfe utf-8.mp4",
    b"x" * 251 + b".mp4",
]


def test_odd_names(cli: Cli, spoken: Path) -> None:
    for name in ODD_NAMES:
        (cli.folder / os.fsdecode(name)).write_bytes(spoken.read_bytes())
    deep = cli.folder / ("d" * 200) / ("e" * 200)
    copied(spoken, deep / "deep.mp4")
    through = deep / ".." / ".." / os.fsdecode(ODD_NAMES[0])

    output = cli("extract", "--", *ODD_NAMES, deep / "deep.mp4", through)

    assert "\x1b" not in output.out
    assert "new\\nline.mp4" in output.out
    assert "[bold]markup[dim].mp4" in output.out
    documents = cli.documents()
    assert {one["status"] for one in documents} == {"DONE"}
    assert len(documents) == len(ODD_NAMES) + 1
    root = cli.folder / "audio"
    assert all((root / one["gcs_path"]).resolve().is_relative_to(root) for one in documents)


# other settings


def test_another_preset_on_the_command_line_makes_it_again(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    [before] = cli.documents()

    assert "already done" not in cli("extract", "--preset", "opus", meeting).out
    [document] = cli.documents()
    assert document["audio"]["preset"] == "opus"
    assert not (cli.folder / "audio" / before["gcs_path"]).exists()
    assert "already done" in cli("extract", "--preset", "opus", meeting).out


def test_another_preset_in_the_environment_is_only_mentioned(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    before = cli.documents()
    cli.environ["AUDIO_PRESET"] = "opus"

    assert "done as mp3; --force makes it again as opus" in cli("extract", meeting).out
    assert cli.documents() == before


@pytest.mark.parametrize("preset", ["mp3", "opus"])
def test_another_bit_rate_makes_it_again(cli: Cli, meeting: Path, preset: str) -> None:
    options = ("extract", "--preset", preset, meeting, "--bitrate")
    cli(*options, "64k")
    [before] = cli.documents()

    assert "already done" not in cli(*options, "32k").out
    [document] = cli.documents()
    assert document["audio"]["bytes"] < before["audio"]["bytes"]
    assert "already done" in cli(*options, "32k").out
    cli.environ |= {"AUDIO_PRESET": preset, "AUDIO_BITRATE": "64k"}
    again = f"done as {preset} at 32k; --force makes it again as {preset} at 64k"
    assert again in cli("extract", meeting).out


# names


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("created", "day"),
    [("2023-05-06T07:08:09Z", "2023-05-06_07-08"), ("1970-01-01T00:00:00Z", "2024-02-03_04-05")],
)
def test_the_container_s_creation_time_comes_before_the_file_s(
    cli: Cli, container: str, created: str, day: str
) -> None:
    clip = cli.folder / f"talk.{container}"
    sine = ("-f", "lavfi", "-i", "sine=d=1")
    run(*sine, "-metadata", f"creation_time={created}", "-c:a", "aac", clip)
    modified = datetime(2024, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    os.utime(clip, (modified, modified))

    cli("extract", clip)

    [document] = cli.documents()
    assert document["gcs_path"].endswith(f"/talk_{day}_audio.mp3")


# silence


@pytest.mark.parametrize(
    ("sound", "silent"),
    [
        ("anullsrc=d=5", True),
        ("sine=f=300:d=5,volume=-80dB", True),
        # A second of speech in ten minutes of silence: between the samples of the picture.
        ("sine=f=300:r=8000:d=600,volume='if(between(t,301.0,301.3),0.5,0)':eval=frame", False),
    ],
)
def test_silent_audio_is_marked(cli: Cli, sound: str, silent: bool) -> None:
    clip = cli.folder / "quiet.m4a"
    run("-f", "lavfi", "-i", sound, "-c:a", "aac", clip)

    output = cli("extract", clip)

    [document] = cli.documents()
    assert document["silent"] is silent
    assert ("silent" in output.out) is silent


# folders


def test_a_folder_has_a_summary_and_names_relative_to_it(cli: Cli, spoken: Path) -> None:
    folder = cli.folder / "recordings"
    copied(spoken, folder / "one/a.mp4")
    cli("extract", folder)
    copied(spoken, folder / "two/a.mp4")
    (folder / "three").mkdir()
    (folder / "three/a.mp4").write_text("no recording")
    (folder / "empty.mp4").touch()

    output = cli("extract", folder, status=1)

    assert "3 recordings: 2 done, 1 new, 1 failed" in output.out
    assert "two/a.mp4" in output.out
    assert "one/a.mp4" not in output.out
    assert "three/a.mp4" in output.err
    assert "empty: empty.mp4" in output.out
    assert "audio-pipeline status --failed" in output.out
    assert "empty.mp4" in cli("audit", folder).out


def test_unreadable_files_and_folders_are_named(cli: Cli, spoken: Path) -> None:
    folder = cli.folder / "recordings"
    copied(spoken, folder / "good.mp4")
    copied(spoken, folder / "secret.mp4").chmod(0)
    locked = copied(spoken, folder / "locked/inside.mp4").parent
    locked.chmod(0)

    status, out, err = as_owner(cli, "extract", folder)

    assert status == 1
    assert "3 recordings: 1 done, 1 new, 2 failed" in out, err
    assert all(name in out and name in err for name in ("secret.mp4", "locked"))
    status, _, err = as_owner(cli, "audit", folder)
    assert status == 1
    assert "secret.mp4" in err
    assert "locked" in err
    locked.chmod(0o700)


def as_owner(cli: Cli, *arguments: str | Path) -> tuple[int, str, str]:
    """Run the command bound by file modes, as root is without two capabilities."""
    prefix: list[str] = []
    if os.geteuid() == 0:
        dropped = "-dac_override,-dac_read_search"
        setpriv = shutil.which("setpriv") or missing("setpriv")
        prefix = [setpriv, f"--inh-caps={dropped}", f"--bounding-set={dropped}"]
    done = subprocess.run(
        [*prefix, COMMAND, *arguments], cwd=cli.folder, env={**os.environ, **cli.environ},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_a_renamed_file_keeps_its_audio(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    [before] = cli.documents()
    target = cli.folder / "below" / "new name.mp4"
    target.parent.mkdir()
    os.utime(meeting, (1, 1))
    meeting.rename(target)
    assert "1 seen = 1 done" in cli("audit", ".").out

    assert "rename" in cli("extract", "--dry-run", target).out
    assert "already done" in cli("extract", target).out

    [document] = cli.documents()
    assert document["audio"] == before["audio"]
    assert document["source_id"] == str(target)
    assert "everything adds up" in cli("audit").out


def test_a_copy_is_a_recording_of_its_own(cli: Cli, meeting: Path, spoken: Path) -> None:
    cli("extract", meeting)
    cli("extract", copied(spoken, cli.folder / "copy.mp4"))

    assert len(cli.documents()) == 2


def test_json_has_a_record_for_every_input(cli: Cli, meeting: Path) -> None:
    documents = cli("extract", "--json", "nowhere.mp4", meeting, status=1).documents

    assert [(one["name"], one["status"]) for one in documents] == [
        ("nowhere.mp4", "FAILED"),
        ("meeting.mp4", "DONE"),
    ]
    assert documents[0]["error"]["code"] == "gone"


def test_a_dry_run_changes_nothing(cli: Cli, meeting: Path) -> None:
    assert "process" in cli("extract", "--dry-run", meeting).out
    assert "process" in cli("watch", "--dry-run", ".").out
    assert [path.name for path in cli.folder.iterdir()] == ["meeting.mp4"]


def test_quiet_prints_errors_only(cli: Cli, meeting: Path) -> None:
    output = cli("extract", "-q", meeting)
    assert (output.out, output.err) == ("", "")
    output = cli("-q", "extract", "nowhere.mp4", meeting, status=1)
    assert output.out == ""
    assert "nowhere.mp4" in output.err


# settings


def test_a_config_file_is_overridden_by_the_environment(cli: Cli, meeting: Path) -> None:
    config = cli.folder / "config.toml"
    config.write_text('storage_url = "elsewhere"\naudio_preset = "opus"\n')
    cli.environ |= {"AUDIO_PRESET": "mp3", "XDG_CONFIG_HOME": str(cli.folder / "home")}

    [document] = cli("extract", "--json", "--config", config, meeting).documents
    assert document["audio"]["preset"] == "mp3"
    assert (cli.folder / "elsewhere" / document["gcs_path"]).exists()

    home = cli.folder / "home/audio-pipeline/config.toml"
    home.parent.mkdir(parents=True)
    home.write_text('storage_ulr = "x"')
    err = cli("status", status=2).err
    assert "storage_ulr is not a setting; did you mean storage_url?" in err
    assert str(home) in err


def test_errors_name_options_as_they_were_typed(cli: Cli, meeting: Path) -> None:
    assert "--bitrate" in cli("extract", "--bitrate", "loud", meeting, status=2).err
    assert "AUDIO_BITRATE" not in cli("extract", "--bitrate", "loud", meeting, status=2).err
    assert "--out" in cli("extract", "--out", "s3://x", meeting, status=2).err


# being interrupted


@contextlib.contextmanager
def at_work(cli: Cli, *arguments: str | Path) -> Iterator[tuple[_Process, list[psutil.Process]]]:
    """Run the command on a terminal until its bar has moved; yields it and its FFmpegs."""
    ours, theirs = pty.openpty()
    process = cli.start(*arguments, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True)
    os.close(theirs)
    try:
        _read_until(ours, re.compile(rb"[1-9]\d?%"))
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        yield process, children
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        os.close(ours)


def _read_until(terminal: int, pattern: re.Pattern[bytes]) -> bytes:
    seen, end = b"", time.monotonic() + PATIENCE_S
    while not pattern.search(seen):
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 65536)
    return seen


def _rest(terminal_or_process: _Process, timeout_s: float = PATIENCE_S) -> bytes:
    return terminal_or_process.communicate(timeout=timeout_s)[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing_behind(cli: Cli, lasting: Path, number: int) -> None:
    cli.environ["COLUMNS"] = "100"
    with at_work(cli, "extract", lasting) as (process, children):
        process.send_signal(number)
        out = _rest(process)

    assert process.returncode == 130
    assert b"Traceback" not in out
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert cli.audio() == []
    [document] = cli.documents()
    assert document["status"] == "QUEUED"
    assert document["lease_owner"] is None


def test_a_killed_process_is_waited_for(cli: Cli, lasting: Path) -> None:
    cli.environ["LEASE_SECONDS"] = "15"
    short = cli.folder / "short.mkv"
    run("-i", lasting, "-t", "300", "-c", "copy", short)
    with at_work(cli, "extract", short) as (process, children):
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert alive == []  # FFmpeg ends when its pipes are closed
    assert cli.audio() == []

    output = cli("extract", short)

    assert "another process is working on this" in output.err
    [document] = cli.documents()
    assert (document["status"], document["crashes"]) == ("DONE", 1)


def test_a_full_disk_leaves_no_partial_file(cli: Cli, small_disk: Path) -> None:
    cli.environ["STORAGE_URL"] = str(small_disk / "audio")
    clip = cli.folder / "long.m4a"
    run(*speech(60, 44100, 2), "-c:a", "aac", clip)

    output = cli("extract", clip, status=1)

    assert f"the disk is full: {small_disk}/audio has 0.3 MB free" in output.err
    assert "set STORAGE_URL to another place" in output.err
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    [document] = cli.documents()
    assert (document["status"], document["audio"]) == ("QUEUED", None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode != 0:
        missing("the right to mount a small disk")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_two_processes_make_one_object(cli: Cli, lasting: Path) -> None:
    short = cli.folder / "short.mkv"
    run("-i", lasting, "-t", "120", "-c", "copy", short)

    processes = [cli.start("extract", short) for _ in range(2)]

    outputs = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    [document] = cli.documents()
    assert document["attempts"] == 1
    assert len([path for path in cli.audio() if not path.name.startswith(".")]) == 1
    assert sorted(b"already done" in out for out, _ in outputs) == [False, True]


def test_a_reader_that_leaves_is_not_an_error(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    process = cli.start("status", "--json")
    assert process.stdout is not None
    process.stdout.close()

    _, err = process.communicate(timeout=PATIENCE_S)

    assert err == b""


# watch


def test_a_file_is_not_taken_while_it_grows(cli: Cli, spoken: Path) -> None:
    content, inbox = spoken.read_bytes(), cli.folder / "inbox"
    inbox.mkdir()
    with (inbox / "growing.mp4").open("wb", buffering=0) as file:
        file.write(content[:1000])
        process = cli.start("watch", "--once", "--interval", "0.1", "--settle", "0.5", inbox)
        # Open throughout, and still for longer than it takes to settle: not done yet.
        for start in range(1000, len(content), -(-len(content) // 4)):
            time.sleep(0.8)
            file.write(content[start : start + -(-len(content) // 4)])
    process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    [document] = cli.documents()
    assert (document["status"], document["size_bytes"]) == ("DONE", len(content))


def test_a_restart_does_nothing_again_and_a_change_does(cli: Cli, spoken: Path) -> None:
    inbox, watch = cli.folder / "inbox", ("watch", "--once", "--settle", "0.2", "--interval", "0.1")
    copied(spoken, inbox / "a.mp4")
    first = cli(*watch, "--json", inbox).lines
    assert [one["status"] for one in first] == ["DONE"]

    assert cli(*watch, "--json", inbox).lines == []

    run(*speech(2, 44100, 1), "-c:a", "aac", inbox / "a.mp4")
    second = cli(*watch, "--json", inbox).lines
    assert [one["status"] for one in second] == ["DONE"]
    assert second[0]["gcs_path"] != first[0]["gcs_path"]


def test_the_audio_may_be_in_the_watched_folder(cli: Cli, meeting: Path) -> None:
    watch = ("watch", "--once", "--settle", "0.2", "--interval", "0.1", cli.folder)
    cli(*watch)
    cli(*watch)

    assert [one["name"] for one in cli.documents()] == [meeting.name]


def test_the_storage_itself_cannot_be_watched(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)

    assert "STORAGE_URL" in cli("watch", "audio", status=2).err


def test_several_watchers_do_each_file_once(cli: Cli, spoken: Path) -> None:
    inbox = cli.folder / "inbox"
    for number in range(3):
        copied(spoken, inbox / f"{number}.mp4")

    arguments = ("watch", "--once", "--settle", "0.2", "--interval", "0.1", inbox)
    processes = [cli.start(*arguments) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=PATIENCE_S)

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [one["attempts"] for one in cli.documents()] == [1, 1, 1]


def test_a_watch_ends_when_asked_and_another_goes_on(cli: Cli, spoken: Path) -> None:
    inbox = cli.folder / "inbox"
    copied(spoken, inbox / "a.mp4")
    process = cli.start("watch", "--settle", "0.2", "--interval", "0.1", inbox)
    until(lambda: [one["status"] for one in cli.documents()] == ["DONE"])

    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0
    assert b"Traceback" not in err


# status, retry, audit, doctor


def test_an_empty_tracker(cli: Cli) -> None:
    assert "nothing yet" in cli("status").out
    assert "nothing has failed" in cli("status", "--failed").out
    assert cli("status", "--json").documents == []
    assert "adds up" in cli("audit").out


def test_failed_recordings_are_shown_and_can_be_retried(cli: Cli, meeting: Path) -> None:
    cli.environ["MAX_DURATION_HOURS"] = "0.0001"
    cli("extract", meeting, status=1)
    output = cli("status", "--failed")
    [key] = re.findall(r"audio-pipeline retry (\S+)", output.out)

    cli("retry", key, status=1)
    assert "extract again" in cli("retry", key, "--dry-run").out
    del cli.environ["MAX_DURATION_HOURS"]
    [document] = cli("retry", "--failed", "--json").documents

    assert (document["key"], document["status"]) == (key, "DONE")
    assert "nothing has failed" in cli("retry", "--failed").out


def test_an_unknown_key_is_an_error(cli: Cli) -> None:
    assert "no recording with this key" in cli("retry", "local-nothing", status=1).err
    cli("retry", status=2)
    cli("retry", "local-nothing", "--failed", status=2)


def test_audit_finds_lost_audio(cli: Cli, meeting: Path, spoken: Path) -> None:
    cli("extract", meeting)
    assert "1 seen = 1 done" in cli("audit").out
    assert "1 seen = 1 done" in cli("audit", ".").out

    copied(spoken, cli.folder / "unseen.mp4")
    assert "unseen.mp4" in cli("audit", ".", status=1).err
    cli("audit")  # that folder was not named

    (cli.folder / "audio" / cli.documents()[0]["gcs_path"]).unlink()
    assert "gone" in cli("audit", status=1).err
    [document] = cli("audit", "--json", status=1).documents
    assert document["name"] == "meeting.mp4"


def test_audit_shows_twenty_of_a_kind_between_the_totals(cli: Cli) -> None:
    url = f"sqlite:///{cli.folder}/audio/tracker.db"
    tracker = Services.from_environment({"TRACKER_URL": url}).tracker
    inbox = cli.folder / "inbox"
    inbox.mkdir()
    for number in range(300):
        (inbox / f"{number}.mp4").write_bytes(b"%d" % number)
        lost = without_audio(f"file{number}")
        tracker.documents.create(COLLECTION, lost.key, lost.to_document())

    process = cli.start("audit", "inbox", stderr=subprocess.STDOUT)
    lines = process.communicate(timeout=PATIENCE_S)[0].decode().splitlines()

    assert process.returncode == 1
    totals = "inbox: 300 seen ≠ 0 done + 0 skipped + 0 failed + 0 in flight"
    assert lines[0] == totals
    assert lines[-2] == totals
    assert lines[-1] == "600 problems: 300 not in the tracker, 300 without its audio"
    assert sum(line.startswith("✗") for line in lines) == 40
    assert "  … and 280 more not in the tracker" in lines
    assert "  … and 280 more without its audio" in lines
    assert "  run: audio-pipeline extract inbox" in lines
    assert any(line.startswith("  run: audio-pipeline retry drive-") for line in lines)


def without_audio(file_id: str) -> Recording:
    """Return a DONE recording of Drive whose object does not exist."""
    now = datetime(2025, 1, 1, tzinfo=UTC)
    item = SourceFile(
        source="drive", source_id=file_id, revision="a1", name=file_id,
        mime_type="video/mp4", size_bytes=1, created_at=now,
    )  # fmt: skip
    audio = Audio(
        object=f"dev/{file_id}.mp3", bytes=1, crc32c="AAAAAA==", duration_s=1.0,
        start_offset_s=0.0, codec="mp3", bitrate_kbps=128.0, preset="mp3",
    )  # fmt: skip
    done = Recording.from_source_file(item, now=now)
    return done.evolve(status=Status.DONE, audio=audio, gcs_path=audio.object, finished_at=now)


def test_audit_finds_a_file_that_changed_since(cli: Cli, meeting: Path) -> None:
    cli("extract", meeting)
    with meeting.open("ab") as file:
        file.write(b"more")

    assert "does not know this revision" in cli("audit", status=1).err


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("status", "--failed"),
        ("audit",),
        ("audit", "."),
        ("retry", "--failed"),
        ("retry", "local-nothing"),
        ("doctor",),
        ("doctor", "--json"),
    ],
)
def test_looking_creates_no_file_or_folder(cli: Cli, command: tuple[str, ...]) -> None:
    cli.environ["STORAGE_URL"] = "new/audio"
    cli.environ["TRACKER_URL"] = "sqlite:///tracker/t.db"

    cli(*command, status=1 if "local-nothing" in command else 0)

    assert list(cli.folder.iterdir()) == []


def test_status_knows_whether_a_worker_lives(cli: Cli, lasting: Path) -> None:
    with at_work(cli, "extract", lasting) as (process, _):
        assert "by a process of this machine" in cli("status").out
        process.kill()
        process.wait()

    assert "its worker crashed" in cli("status").out
    assert "audio/tracker.db" in cli("status").out


def test_doctor_prints_json(cli: Cli) -> None:
    findings = json.loads(cli("doctor", "--json").raw)
    assert {"python", "ffmpeg", "storage", "tracker"} <= {one["name"] for one in findings}
    assert {"name", "severity", "found", "todo"} == findings[0].keys()


def test_doctor_reports_a_good_setup(cli: Cli) -> None:
    output = cli("doctor").out

    for name in ("python", "ffmpeg", "libmp3lame", "storage", "tracker", "free", "ready"):
        assert name in output


def test_doctor_names_each_fix(cli: Cli) -> None:
    (cli.folder / "file").touch()
    cli.environ |= {"STORAGE_URL": "file", "STORAGE_EMULATOR_HOST": "127.0.0.1:1"}
    output = cli("doctor", status=1).out
    assert "cannot be used as a directory" in output
    assert "unset STORAGE_EMULATOR_HOST" in output

    cli.environ["STORAGE_URL"] = "s3://bucket"
    assert "STORAGE_URL has a scheme" in cli("doctor", status=1).out


def test_an_old_ffmpeg_is_refused_at_start(cli: Cli, meeting: Path) -> None:
    old = cli.folder / "ffmpeg"
    old.write_text("#!/bin/sh\necho 'ffmpeg version 7.0.2-static https://example.com/'\n")
    old.chmod(0o755)
    cli.environ["IMAGEIO_FFMPEG_EXE"] = str(old)

    err = cli("extract", meeting, status=2).err
    findings = json.loads(cli("doctor", "--json", status=1).raw)

    assert err.count("FFmpeg 7.0.2") == 1
    assert "version 8 or later is needed" in err
    assert cli("status", "--json").documents == []
    [bad] = [one for one in findings if one["severity"] == "bad"]
    assert bad["name"] == "ffmpeg"
    assert "FFmpeg 7.0.2-static" in bad["found"]


def test_a_wrong_environment_is_one_message_of_every_problem(cli: Cli, meeting: Path) -> None:
    cli.environ |= {"LEASE_SECONDS": "soon", "AUDIO_PRESET": "flac"}

    err = cli("extract", meeting, status=2).err

    assert "LEASE_SECONDS is not a number" in err
    assert "AUDIO_PRESET must be mp3, copy, opus or whisper, not 'flac'." in err
    assert "Traceback" not in err
    assert not (cli.folder / "audio").exists()


@pytest.mark.parametrize(
    "wrong", [["extract"], ["frob"], ["watch", "nowhere"], ["status", "--what"]]
)
def test_wrong_usage(cli: Cli, wrong: Sequence[str]) -> None:
    assert "Usage:" in cli(*wrong, status=2).err


def test_plain_output_off_a_terminal_and_colour_on_one(cli: Cli, meeting: Path) -> None:
    assert b"\x1b" not in cli("extract", meeting).raw
    ours, theirs = pty.openpty()
    cli.environ |= {"TERM": "xterm-256color", "NO_COLOR": "1"}
    cli.start("status", stdout=theirs).communicate(timeout=PATIENCE_S)
    plain = os.read(ours, 65536)
    del cli.environ["NO_COLOR"]
    cli.start("status", stdout=theirs).communicate(timeout=PATIENCE_S)

    assert b"\x1b[3" not in plain
    assert b"\x1b[3" in os.read(ours, 65536)
    os.close(ours)
    os.close(theirs)


def test_a_terminal_that_knows_only_ascii(cli: Cli, meeting: Path) -> None:
    cli.environ |= {"PYTHONIOENCODING": "ascii"}

    assert cli("extract", meeting).raw.decode("ascii").startswith("ok meeting.mp4")


def test_the_sample_is_a_meeting(cli: Cli) -> None:
    path = cli.folder / "Weekly sync - 2025_04_07 16_52 CST - Recording.mp4"
    run(*arguments(path, seconds=2))

    cli("extract", path)

    [document] = cli.documents()
    assert document["gcs_path"] == "dev/2025/04/weekly-sync_2025-04-07_16-52_audio.mp3"
    assert document["audio"]["duration_s"] == pytest.approx(2, abs=0.1)


# Drive


@pytest.fixture
def drive(cli: Cli) -> Iterator[StandIn]:
    """A Drive whose watched folder is empty, in the command's environment."""
    with standin() as one:
        key = cli.folder / "key.json"
        token_uri = one.server.endpoint.replace("/drive/v3/", "/token")
        key.write_text(json.dumps(key_file(READER, token_uri)))
        cli.environ |= {
            "DRIVE_API_ENDPOINT": one.server.endpoint,
            "DRIVE_FOLDER_IDS": one.world.create_folder("Meet Recordings", owner=READER),
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
        }
        yield one


def test_audit_and_retry_know_drive(cli: Cli, drive: StandIn, spoken: Path) -> None:
    content, watched = spoken.read_bytes(), cli.environ["DRIVE_FOLDER_IDS"]
    file_id = drive.world.create_file("Sync", content=content, parent=watched, owner=READER)
    drive.world.create_file("elsewhere", content=content, owner=READER)
    err = cli("audit", status=1).err
    assert "Sync" in err
    assert "elsewhere" not in err

    item = drive.client().get(file_id).to_source_file()
    url = f"sqlite:///{cli.folder}/audio/tracker.db"
    Services.from_environment({"TRACKER_URL": url}).tracker.enqueue(item)
    [document] = cli("retry", item.key, "--json").documents

    assert document["status"] == "DONE"
    assert "1 seen = 1 done" in cli("audit").out
