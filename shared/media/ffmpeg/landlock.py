"""Landlock: which files and ports a thread and its children may use (landlock(7)).

Numbers are those of linux/landlock.h. The version of the kernel's interface (the "ABI") decides
which rights exist: 3 has truncation (Linux 6.2), 4 TCP ports (6.7), 5 device commands (6.10),
and 6 signals and abstract sockets (6.12).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from shared.core.kernel import syscall

# The same numbers on every architecture (asm-generic/unistd.h).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_REG, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 8, 1 << 13, 1 << 14, 1 << 15
_FIRST_ABI_FILES = (1 << 13) - 1
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1

TCP_ABI = 4
SIGNAL_ABI = 6


@cache
def abi() -> int:
    """Return the version of Landlock's interface, 0 where the kernel has none."""
    try:
        return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def ruleset(
    *,
    read: Iterable[Path],
    browse: Iterable[Path] = (),
    execute: Iterable[Path] = (),
    write: Iterable[Path] = (),
    fill: Path | None = None,
    port: int | None = None,
) -> int:
    """Return a descriptor of rules that allow this and nothing else; close it after use.

    Args:
        read: Files that may be read.
        browse: Directories that may be listed, and whose files may be read.
        execute: Files that may be read and executed.
        write: Files that may be read and written.
        fill: A directory whose files may be read and written, and in which files may be made.
        port: The TCP port that may be connected to, at any address.

    A file that does not exist is left out. Raises ``OSError`` where there is no Landlock.
    """
    version = abi()
    files = _FIRST_ABI_FILES
    files |= _REFER if version >= 2 else 0
    files |= _TRUNCATE if version >= 3 else 0
    files |= _IOCTL_DEV if version >= 5 else 0
    tcp = _BIND_TCP | _CONNECT_TCP if version >= TCP_ABI else 0
    scoped = _SCOPE_ABSTRACT_SOCKET | _SCOPE_SIGNAL if version >= SIGNAL_ABI else 0
    # The kernel accepts a longer structure than it knows if the rest is zero.
    attributes = struct.pack("=QQQ", files, tcp, scoped)
    fd = syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        written = (_READ_FILE | _WRITE_FILE | _TRUNCATE) & files
        allowed = [(path, _READ_FILE) for path in read]
        allowed += [(path, _READ_FILE | _READ_DIR) for path in browse]
        allowed += [(path, _READ_FILE | _EXECUTE) for path in execute]
        allowed += [(path, written) for path in write]
        if fill:
            allowed.append((fill, written | _MAKE_REG))
        for path, rights in allowed:
            _allow(fd, path, rights)
        if port is not None and tcp:
            _add(fd, _NET_PORT, struct.pack("=QQ", _CONNECT_TCP, port))
    except BaseException:
        os.close(fd)
        raise
    return fd


def restrict(fd: int) -> None:
    """Apply a ruleset to this thread and what it starts; other threads are not restricted."""
    syscall(_RESTRICT_SELF, ctypes.c_int(fd), ctypes.c_uint32(0))


def _allow(fd: int, path: Path, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _add(fd, _PATH_BENEATH, struct.pack("=Qi", rights, beneath))
    finally:
        os.close(beneath)


def _add(fd: int, kind: int, rule: bytes) -> None:
    syscall(_ADD_RULE, ctypes.c_int(fd), ctypes.c_int(kind), rule, ctypes.c_uint32(0))
