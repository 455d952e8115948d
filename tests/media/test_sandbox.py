"""FFmpeg's sandbox: a program in its place tries to break out, through the same start."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.core.errors import Code, PermanentError, TransientError
from shared.media.ffmpeg import landlock, sandbox
from shared.media.ffmpeg.executable import executable
from shared.media.ffmpeg.limits import Limits
from shared.media.ffmpeg.process import Job
from shared.media.ffmpeg.sandbox import features
from tests.emulators import missing
from tests.media.rig import RangeSources, Rig

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

REFUSED = {"EPERM", "EACCES", "ENOSYS"}
Attack = Callable[..., str]


@pytest.fixture(scope="module")
def attacker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if not compiler:
        missing("a C compiler is not installed")
    program = tmp_path_factory.mktemp("attacker") / "ffmpeg"
    source = Path(__file__).with_name("attacks.c")
    subprocess.run([compiler, "-O1", "-o", program, source], check=True)
    return program


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    return made


@pytest.fixture
def attack(attacker: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attack]:
    """Runs one attack in FFmpeg's sandbox, and returns its outcome."""
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(attacker))
    executable.cache_clear()

    def run(name: str, *arguments: object, port: int | None = None) -> str:
        with Job(Limits(), directory=directory) as job:
            command = ["attack", name, *map(str, arguments)]
            process = job.start(command, stdout=True, port=port)
            printed = b"".join(process.blocks())
            process.wait()
        return printed.decode().strip()

    yield run
    executable.cache_clear()


@pytest.fixture
def free(attacker: Path) -> Attack:
    """Runs one attack without the sandbox: what it then can do, the sandbox has to prevent."""

    def run(name: str, *arguments: object) -> str:
        command = [str(attacker), "attack", name, *map(str, arguments)]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().strip()

    return run


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Takes features away, as an older kernel or gVisor does."""

    def take(**names: object) -> None:
        found = replace(features(), **names)  # type: ignore[arg-type]
        monkeypatch.setattr(sandbox, "features", lambda: found)

    return take


needs_seccomp = pytest.mark.skipif(not features().seccomp, reason="no filter of system calls here")
needs_landlock = pytest.mark.skipif(not features().landlock, reason="this kernel has no Landlock")


@needs_seccomp
@pytest.mark.parametrize(
    "name",
    ["connect", "udp", "multipath", "fast-open", "listen", "unix-socket", "netlink", "fork",
     "vfork", "clone3", "signal-parent", "signal-thread", "raise-a-limit", "parent-memory-by-call",
     "debug-parent", "namespace", "io_uring", "keys", "bpf", "memory-file", "terminal"],
)  # fmt: skip
@pytest.mark.parametrize("alone", [True, False])
def test_a_call_is_refused(
    name: str,
    alone: bool,
    attack: Attack,
    free: Attack,
    listener: int,
    without: Callable[..., None],
) -> None:
    value = ctypes.create_string_buffer(8)
    argument = ctypes.addressof(value) if name == "parent-memory-by-call" else listener
    if alone:
        without(landlock=0)

    assert attack(name, argument) in REFUSED
    if name not in ("multipath", "fast-open", "debug-parent", "namespace", "io_uring"):
        # Those depend on the kernel's build, or on who runs the tests.
        assert free(name, argument) == "done"


@needs_seccomp
@pytest.mark.parametrize("name", ["connect", "multipath", "fast-open", "udp", "listen"])
def test_one_port_at_most_is_connected_to(name: str, attack: Attack, listener: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        allowed = server.getsockname()[1]

        assert attack(name, listener, port=allowed) in REFUSED
        assert attack("connect", allowed, port=allowed) == "done"
        assert attack("multipath", allowed, port=allowed) in REFUSED


@needs_landlock
@pytest.mark.parametrize("alone", [True, False])
def test_files_outside_are_out_of_reach(
    alone: bool,
    attack: Attack,
    free: Attack,
    directory: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without: Callable[..., None],
) -> None:
    home, beside = tmp_path / "home", tmp_path / "work-of-others"
    home.mkdir()
    secret = home / "key"
    secret.write_text("secret")
    if alone:
        without(seccomp=False)

    for name, path in [
        ("read", secret), ("write", secret), ("write", beside), ("write", tmp_path / "new"),
        ("write", directory / ".." / "new"), ("truncate", secret), ("list", home),
        ("list", directory), ("remove", secret), ("make-directory", tmp_path / "d"),
        ("link", tmp_path / "l"), ("link", directory / "l"), ("read", "/etc/passwd"),
        ("read", "/proc/self/environ"), ("parent-environment", ""), ("parent-command-line", ""),
        ("parent-memory", ""), ("list", "/"),
    ]:  # fmt: skip
        assert attack(name, path) in REFUSED, (name, path)
        if name not in ("remove", "link", "truncate", "make-directory"):
            assert free(name, path) == "done", (name, path)
    assert secret.read_text().startswith("x")  # written without the sandbox, not removed in it

    (directory / "audio").write_text("ours")
    assert attack("read", directory / "audio") == "done"
    assert attack("write", directory / "new") == "done"
    assert attack("truncate", directory / "audio") in {"done", "ENOSYS"}


@pytest.mark.parametrize("name", ["execute", "execute-itself", "execute-at"])
@pytest.mark.parametrize("lacking", [{}, {"landlock": 0}])
@needs_seccomp
def test_nothing_is_executed(
    name: str,
    lacking: dict[str, object],
    attack: Attack,
    free: Attack,
    attacker: Path,
    without: Callable[..., None],
) -> None:
    without(**lacking)

    if name == "execute-at":
        assert attack(name) in REFUSED
    else:
        with pytest.raises(PermanentError) as caught:  # a call of execve ends the process
            attack(name, attacker)
        assert caught.value.code is Code.CORRUPT
    assert free(name, attacker) in ("", "ffmpeg version 9.0 stand-in")


@needs_landlock
def test_nothing_is_executed_by_landlock_alone(
    attack: Attack, attacker: Path, without: Callable[..., None]
) -> None:
    without(seccomp=False)

    assert attack("execute", attacker) == "EACCES"


_PARENT = """
import os, subprocess, sys
from shared.core import kernel
from shared.media.ffmpeg import sandbox
attacker, user, state = sys.argv[1:]
drops = user == "root" and state == "hidden"
found = sandbox.Features(landlock=0, seccomp=False, capabilities=drops)
sandbox.features = lambda: found
if user == "other" and os.getuid() == 0:
    os.setuid(65534)
    kernel.prctl(kernel._PR_SET_DUMPABLE, 1)  # as in a program that user has started
if state == "shown":
    kernel.hide_process = lambda: None
for name in ("parent-environment", "parent-memory"):
    process = sandbox.Sandbox().start([attacker, "attack", name], stdout=subprocess.PIPE)
    print(process.communicate()[0].decode().strip())
"""


# From root, a parent is hidden by dropping root's capabilities.
@pytest.mark.parametrize("user", ["other", *(["root"] if os.getuid() == 0 else [])])
def test_a_parent_is_hidden_where_there_is_no_landlock(user: str, attacker: Path) -> None:
    def outcomes(state: str) -> list[str]:
        with tempfile.TemporaryDirectory() as directory:  # pytest's own is closed to others
            Path(directory).chmod(0o755)
            program = shutil.copy(attacker, directory)
            command = [sys.executable, "-c", _PARENT, program, user, state]
            run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        return run.stdout.decode().split()

    assert outcomes("hidden") == ["EACCES", "EACCES"]
    assert outcomes("shown")[0] == "done"


@needs_seccomp
def test_the_calls_of_a_real_ffmpeg_are_allowed(attack: Attack) -> None:
    assert attack("thread") == "done"


def test_its_descriptors_are_limited(attack: Attack, free: Attack) -> None:
    assert attack("descriptors") == "EMFILE"
    assert free("descriptors") == "done"


def test_its_memory_is_limited(attack: Attack, free: Attack) -> None:
    taken = Limits().memory_bytes + (1 << 20)

    assert attack("memory", taken) == "ENOMEM"
    assert free("memory", taken) == "done"


def test_it_cannot_fill_the_disk(attack: Attack, directory: Path) -> None:
    with pytest.raises(TransientError, match="disk is full"):
        attack("fill", directory / "large")


@pytest.mark.usefixtures("attack")
def test_the_description_names_the_active_parts(directory: Path) -> None:
    with Job(Limits(), directory=directory) as job:
        process = job.start(["attack", "wait"], stdout=True)
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == ("2" if features().seccomp else "0")
    assert int(status["CapEff"], 16) & ~0b110 == 0


def test_this_program_is_not_restricted(attack: Attack, tmp_path: Path) -> None:
    attack("thread")

    lines = Path("/proc/thread-self/status").read_text().splitlines()
    assert any(line.split() == ["Seccomp:", "0"] for line in lines)
    (tmp_path / "ours").write_text("x")
    assert subprocess.run(["/bin/true"], check=False).returncode == 0


@pytest.mark.parametrize(
    "lacking",
    [
        {},
        {"landlock": 0},
        {"seccomp": False},
        {"landlock": 0, "seccomp": False, "capabilities": False},
    ],
)
@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("preset", ["mp3", "copy", "opus", "whisper"])
def test_a_recording_is_extracted_whatever_the_kernel_lacks(
    preset: str,
    served: bool,
    lacking: dict[str, object],
    shelf: Callable[[str], Path],
    worker: Rig,
    without: Callable[..., None],
) -> None:
    without(**lacking)
    worker.sources = RangeSources if served else worker.sources

    assert worker.extract(shelf("last.mp4"), preset).audio.duration_s > 1


def test_missing_parts_are_logged_once(
    attack: Attack, without: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    sandbox._report.cache_clear()
    without(landlock=0)

    for _ in range(3):
        attack("thread")

    [message] = [one.message for one in caplog.records if "sandbox" in one.message]
    assert "it can open other files (this kernel has no Landlock)" in message


def test_an_old_landlock_is_used_as_far_as_it_goes(
    attack: Attack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without: Callable[..., None],
) -> None:
    """Every version of its interface up to this kernel's."""
    for version in range(1, features().landlock + 1):
        monkeypatch.setattr(landlock, "abi", lambda version=version: version)
        without(landlock=version)
        assert attack("write", tmp_path / "beside") == "EACCES"
        assert ("connect anywhere" in "".join(sandbox.features().missing)) == (version < 4)


def test_a_program_that_cannot_be_started_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sandbox.Sandbox().start([str(tmp_path / "none")])
    assert os.listdir(tmp_path) == []  # noqa: PTH208


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], str]]:
    """Runs a script in FFmpeg's place, and returns what it prints."""

    def run(interpreter: str, text: str) -> str:
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!{interpreter}\n{text}")
        program.chmod(0o755)
        monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
        executable.cache_clear()
        sandbox.interpreters.cache_clear()
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        with Job(Limits(), directory=work) as job:
            process = job.start(["-version"], stdout=True)
            printed = b"".join(process.blocks())
            process.wait()
        return printed.decode().strip()

    yield run
    executable.cache_clear()
    sandbox.interpreters.cache_clear()


def test_a_script_may_run_the_bundled_ffmpeg(script: Callable[[str, str], str]) -> None:
    bundled = executable()
    assert script("/bin/sh", f'exec {bundled} "$@"').startswith("ffmpeg version")


@needs_seccomp
@needs_landlock
@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.socket()",
        "import os; os.execv('/bin/true', ['true'])",
        "import subprocess; subprocess.run(['/bin/true'], check=True)",
        "open('{home}/secret').read()",
        "open('{home}/beside', 'w')",
        "import os; open(f'/proc/{{os.getppid()}}/environ').read()",
        "import os; os.listdir('{home}')",
        "import os; os.unshare(os.CLONE_NEWUSER) if hasattr(os, 'unshare') else 1 / 0",
    ],
)
@pytest.mark.parametrize("interpreter", ["{python}", "/usr/bin/env -S {python} -S"])
def test_a_script_is_refused_the_same_as_a_program(
    attempt: str, interpreter: str, script: Callable[[str, str], str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text("secret")
    attack = attempt.format(home=home)
    text = f"try:\n    {attack}\nexcept Exception:\n    print('refused')\nelse:\n    print('done')"
    assert script(interpreter.format(python=sys.executable), text) == "refused"


def test_a_loader_that_lists_nothing_does_not_matter(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox._needed_by.cache_clear()
    with monkeypatch.context() as patched:
        nothing = subprocess.CompletedProcess([], 1, b"", b"")
        patched.setattr(subprocess, "run", lambda *_, **__: nothing)
        sandbox._needed_by(executable())

    assert attack("thread") == "done"
    sandbox._needed_by.cache_clear()
