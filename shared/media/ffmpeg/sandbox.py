"""The sandbox in which FFmpeg reads untrusted files.

Landlock, filters of system calls, capabilities and ``no_new_privs`` are properties of a thread,
which its children inherit. So each FFmpeg is started by a thread that restricts itself first
and ends right after. That takes no process besides FFmpeg, and runs no Python between fork and
exec, which is unsafe in a program with threads.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from shared.core import kernel
from shared.media.ffmpeg import affinity, landlock, seccomp

log = logging.getLogger(__name__)

#: What FFmpeg reads besides its input: a seed for its random numbers, and the linker's cache.
_READ = (Path("/dev/urandom"), Path("/etc/ld.so.cache"))
_WRITE = (Path("/dev/null"),)

#: Where libraries are, for a loader that does not list them.
_LIBRARY_DIRECTORIES = tuple(map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64")))

#: Open files that a process needs which starts FFmpeg; what most systems allow by default.
_OPEN_FILES = 1024

# The garbage collector must not run in a restricted thread: it would run other objects'
# clean-up there, which could not open or remove a file.
_starting = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What one FFmpeg may use.

    ``directory`` is where it may read and write files, ``port`` the TCP port it may connect to.
    It is kept on one processor where ``slot`` is given (``shared.media.ffmpeg.affinity``).
    """

    directory: Path | None = None
    port: int | None = None
    slot: int | None = None

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start a program as ``subprocess.Popen`` does, restricted as far as the system can.

        Raises ``OSError`` when it cannot be started.
        """
        if sys.platform != "linux":
            return subprocess.Popen(command, **options)
        kernel.hide_process()
        found = features()
        _report(found)
        with ExitStack() as stack:
            rules = _rules(command[0], self, stack) if found.landlock else None
            make = _script_filter if interpreters(command[0]) else _filter
            filter_ = make(client=self.port is not None) if found.seccomp else None

            def restrict() -> None:
                kernel.no_new_privileges()
                if found.capabilities:
                    kernel.drop_capabilities()
                if rules is not None:
                    landlock.restrict(rules)
                if filter_ is not None:
                    seccomp.apply(filter_)

            process = _in_a_thread(restrict, lambda: subprocess.Popen(command, **options))
            # Not by the thread: it would wait for FFmpeg on its only processor.
            affinity.keep_on_one_processor(process.pid, self.slot)
            return process


@dataclass(frozen=True, kw_only=True)
class Features:
    """What this system can restrict. ``landlock`` is the version of its interface, or 0."""

    landlock: int
    seccomp: bool
    capabilities: bool

    @property
    def missing(self) -> list[str]:
        """What FFmpeg can still do here, for people; empty where all is restricted."""
        found = []
        if not self.landlock:
            found.append("it can open other files (this kernel has no Landlock)")
        if self.landlock < landlock.TCP_ABI:
            found.append("it can connect anywhere while a recording is served (before Linux 6.7)")
        if not self.seccomp:
            found.append("its system calls are not filtered (no seccomp, or not x86-64)")
        return found


@cache
def features() -> Features:
    """Return what this system can restrict, after trying it."""
    if sys.platform != "linux":
        return Features(landlock=0, seccomp=False, capabilities=False)

    def everything() -> None:
        kernel.drop_capabilities()
        _try_landlock()
        seccomp.apply(_filter(client=False))

    # One start instead of three, each of which takes milliseconds.
    if seccomp.is_supported() and _works(everything):
        return Features(landlock=landlock.abi(), seccomp=True, capabilities=True)
    return Features(
        landlock=landlock.abi() if _works(_try_landlock) else 0,
        seccomp=seccomp.is_supported() and _works(lambda: seccomp.apply(_filter(client=False))),
        capabilities=_works(kernel.drop_capabilities),
    )


def _try_landlock() -> None:
    rules = landlock.ruleset(read=())
    try:
        landlock.restrict(rules)
    finally:
        os.close(rules)


def _works(restriction: Callable[[], None]) -> bool:
    """Return whether a thread with this restriction can still start a program.

    The program does not exist: a start that reaches ``execve`` fails with an error that names it.
    """

    def restrict() -> None:
        kernel.no_new_privileges()
        restriction()

    try:
        process = _in_a_thread(restrict, lambda: subprocess.Popen(["/nonexistent/program"]))
    except OSError as error:
        return error.errno in (errno.ENOENT, errno.EACCES) and error.filename is not None
    process.wait()  # the filter has killed it
    return False


def _in_a_thread(
    restrict: Callable[[], None], start: Callable[[], subprocess.Popen[bytes]]
) -> subprocess.Popen[bytes]:
    kernel.limit_open_files(_OPEN_FILES)
    started: list[subprocess.Popen[bytes]] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            restrict()
            started.append(start())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=run, name="ffmpeg-start", daemon=True)
    with _starting:
        collects = gc.isenabled()
        gc.disable()
        try:
            thread.start()
            ended.wait()
        except BaseException:  # Ctrl-C, in the main thread
            if thread.ident is not None:
                ended.wait()
            for process in started:
                process.kill()
                process.wait()
            raise
        finally:
            if collects:
                gc.enable()
    thread.join()
    if errors:
        raise errors.pop()
    return started.pop()


@cache
def _filter(*, client: bool) -> bytes:
    return seccomp.program(client=client)


@cache
def _script_filter(*, client: bool) -> bytes:
    return seccomp.program_of_script(client=client)


def _rules(program: str, sandbox: Sandbox, stack: ExitStack) -> int:
    run_by = interpreters(program)
    # A script executes its interpreter, the bundled FFmpeg and the system's, and nothing else.
    others = (*run_by, *_other_ffmpegs()) if run_by else ()
    needs = [_needed_by(os.path.realpath(each)) for each in (Path(program), *others)]
    rules = landlock.ruleset(
        read=(*_READ, *(library for _, libraries in needs for library in libraries)),
        # An interpreter reads its own modules: /usr/bin/python3 has them under /usr, and one in a
        # virtual environment needs that as well as the environment.
        browse={each.parent.parent for path in run_by for each in (path, path.resolve())}
        - {Path("/")},
        execute=(Path(program), *others, *(loader for loader, _ in needs if loader)),
        write=_WRITE,
        fill=sandbox.directory,
        port=sandbox.port,
    )
    stack.callback(os.close, rules)
    return rules


@cache
def _needed_by(program: str) -> tuple[Path | None, tuple[Path, ...]]:
    """Return a program's loader, ``None`` if it is linked statically, and its libraries.

    The loader itself lists them (ld.so(8), ``--list``; musl's has the same option).
    """
    loader = _loader(program)
    if loader is None:
        return None, ()
    listed = subprocess.run(
        [loader, "--list", program], env={}, capture_output=True, timeout=20, check=False
    )
    words = listed.stdout.decode(errors="replace").split()
    found = tuple(Path(word) for word in words if word.startswith("/"))
    return loader, found or _LIBRARY_DIRECTORIES


@cache
def interpreters(program: str) -> tuple[Path, ...]:
    """Return the programs that a script is run by (execve(2), "Interpreter scripts").

    These are more than one for ``#!/usr/bin/env python3``. Empty where it is no script.
    """
    with Path(program).open("rb") as file:
        head = file.read(256)
    if not head.startswith(b"#!"):
        return ()
    words = os.fsdecode(head[2:].split(b"\n", 1)[0]).split()
    found = [Path(word) for word in words[:1]]
    if found and found[0].name == "env":
        # It searches the default path, since FFmpeg's environment is empty.
        paths = (shutil.which(word, path=os.defpath) for word in words[1:])
        found += [Path(path) for path in paths if path]
    return tuple(found)


def _other_ffmpegs() -> list[Path]:
    import imageio_ffmpeg  # noqa: PLC0415  # only a script needs it here

    bundled = Path(imageio_ffmpeg.__file__).parent / "binaries"
    installed = shutil.which("ffmpeg", path=os.defpath)
    return [*bundled.glob("ffmpeg-*"), *([Path(installed)] if installed else [])]


_PT_INTERP = 3


def _loader(program: str) -> Path | None:
    """Return the loader that a 64-bit little-endian ELF file names (elf(5), ``PT_INTERP``)."""
    with suppress(OSError, struct.error), Path(program).open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            return None
        (start,) = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        file.seek(start)
        table = file.read(size * count)
        for at in range(0, len(table), size):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", table, at)
            if kind == _PT_INTERP:
                file.seek(offset)
                return Path(file.read(length).rstrip(b"\0").decode())
    return None


@cache
def _report(found: Features) -> None:
    """Log once what this system lacks."""
    if found.missing:
        log.warning("FFmpeg's sandbox is incomplete here: %s", "; ".join(found.missing))
