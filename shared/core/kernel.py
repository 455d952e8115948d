"""System calls for which Python has no function."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

if sys.platform != "win32":
    import resource

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2


@cache
def libc() -> ctypes.CDLL:
    """Return the C library that this process runs with."""
    return ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
    """Make a system call; raises ``OSError`` when it fails."""
    return _check(libc().syscall(ctypes.c_long(number), *arguments))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raises ``OSError`` when it fails."""
    zeros = (ctypes.c_ulong(0),) * 3
    _check(libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), *zeros))


def hide_process() -> None:
    """Make this process's memory and environment unreadable for others of the same user.

    They cannot open /proc/PID/environ or /proc/PID/mem any more, nor attach a debugger; a
    crash leaves no core dump (prctl(2), PR_SET_DUMPABLE). A fork inherits this, ``execve``
    resets it. Does nothing where the system is not Linux.
    """
    if sys.platform == "linux":
        prctl(_PR_SET_DUMPABLE, 0)


def limit_open_files(most: int) -> None:
    """Lower this process's soft limit of open files to ``most``, where it is higher.

    Where /proc/self/fd cannot be read, as in a hidden process, CPython closes every number up to
    the limit before a program is executed (``_close_fds_by_brute_force`` in
    Modules/_posixsubprocess.c). Container engines often set a limit of a million.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft > most or soft == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def no_new_privileges() -> None:
    """Let nothing that this thread executes gain privileges, for example by a set-uid bit."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """Drop root's capabilities from this thread and what it executes, except reading files.

    Without CAP_SYS_PTRACE root cannot read a hidden process (ptrace(2), "access mode
    checking"). Where a program or a work directory belongs to another user, root needs the two
    that are kept to open them at all. Call ``no_new_privileges`` first, or ``execve`` would give
    them all back (capabilities(7)).
    """
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, of 32 bits each, twice
    _check(libc().capget(header, data))
    kept = data[1] & (_DAC_OVERRIDE | _DAC_READ_SEARCH)
    _check(libc().capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)))
