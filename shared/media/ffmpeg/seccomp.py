"""A filter of system calls for a thread and what it starts (seccomp(2)), for x86-64.

The thread that applies the filter must still start FFmpeg, which must itself start nothing. Both
have the same filter, so these two calls are recognised by where they come from: ``vfork`` and
``execve`` are allowed only at their place in this process's own C library. In FFmpeg the
library is at another address, which is random (address space layout randomization).
"""

from __future__ import annotations

import ctypes
import platform
import re
import struct
import sys
from dataclasses import dataclass

from shared.core.kernel import libc, syscall

_SECCOMP, _SET_MODE_FILTER = 317, 1
_ARCHITECTURE = 0xC000003E  # AUDIT_ARCH_X86_64 of linux/audit.h
_X32 = 0x40000000  # calls of another interface to the same kernel

_ALLOW, _KILL = 0x7FFF0000, 0x80000000  # SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_PROCESS
_NOT_PERMITTED = 0x00050000 | 1  # SECCOMP_RET_ERRNO | EPERM
# A C library then falls back to an older call.
_NOT_IMPLEMENTED = 0x00050000 | 38  # SECCOMP_RET_ERRNO | ENOSYS

# Offsets in struct seccomp_data (linux/seccomp.h).
_NUMBER, _ARCH, _POINTER, _ARGUMENTS = 0, 4, 8, 16
# Instructions of linux/bpf_common.h.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06

# asm/unistd_64.h. What FFmpeg, its C library and its threads call, and what Python calls to start
# it. No call here opens a socket, reaches another process, or changes a limit.
_ALWAYS = {
    *(0, 1, 17, 18, 19, 20),  # read, write, pread64, pwrite64, readv, writev
    *(2, 257, 3, 436),  # open, openat, close, close_range
    *(4, 5, 6, 262, 332),  # stat, fstat, lstat, newfstatat, statx
    *(21, 269, 439, 89, 267),  # access, faccessat, faccessat2, readlink, readlinkat
    *(8, 77, 285, 74, 75, 221, 217),  # lseek, ftruncate, fallocate, fsync, fdatasync, fadvise64,
    # getdents64
    *(32, 33, 292, 22, 293, 72),  # dup, dup2, dup3, pipe, pipe2, fcntl
    *(7, 271, 23, 270),  # poll, ppoll, select, pselect6
    *(9, 10, 11, 12, 25, 28),  # mmap, mprotect, munmap, brk, mremap, madvise
    *(13, 14, 15, 131, 219),  # rt_sigaction, rt_sigprocmask, rt_sigreturn, sigaltstack,
    # restart_syscall
    *(202, 218, 273, 334, 24, 324),  # futex, set_tid_address, set_robust_list, rseq, sched_yield,
    # membarrier
    *(60, 231),  # exit, exit_group
    *(35, 228, 229, 230, 96, 201),  # nanosleep, clock_gettime, clock_getres, clock_nanosleep,
    # gettimeofday, time
    *(39, 110, 186, 102, 104, 107, 108),  # getpid, getppid, gettid, getuid, getgid, geteuid,
    # getegid
    *(204, 309, 145, 98, 100, 97),  # sched_getaffinity, getcpu, sched_getscheduler, getrusage,
    # times, getrlimit
    *(63, 79, 99, 158, 318),  # uname, getcwd, sysinfo, arch_prctl, getrandom
    *(112, 61),  # setsid, wait4
}
_IOCTL, _CLONE, _PRCTL, _PRLIMIT, _VFORK, _EXECVE = 16, 56, 157, 302, 58, 59
_TERMINAL_QUERIES = (0x5401, 0x5413, 0x541B, 0x5421)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO
_THREAD_NAMES = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_CLONE_THREAD = 0x10000

_SOCKET, _SENDTO = 41, 44
# connect, recvfrom, shutdown, getsockname, getpeername, setsockopt, getsockopt
_CONNECTED = {42, 45, 48, 51, 52, 54, 55}
_AF_INET, _SOCK_STREAM, _SOCK_TYPE_MASK = 2, 1, 0xF
# MPTCP and SCTP connect without being checked by Landlock (github.com/landlock-lsm/linux, issues
# 54 and 40).
_PROTOCOLS = (0, 6)  # any, which is TCP, and IPPROTO_TCP
# What a script in FFmpeg's place may not call. An interpreter needs too many calls to list them.
_NEVER_IN_A_SCRIPT = {
    *(43, 288, 49, 50, 46, 307),  # accept, accept4, bind, listen, sendmsg, sendmmsg
    *(101, 310, 311, 424, 434, 438),  # ptrace, process_vm_readv and _writev, pidfd_send_signal,
    # pidfd_open, pidfd_getfd
    *(248, 249, 250, 321, 298, 323),  # add_key, request_key, keyctl, bpf, perf_event_open,
    # userfaultfd
    *(425, 426, 427, 319, 322, 435),  # io_uring's, memfd_create, execveat, clone3
    *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree, move_mount, fsopen, fsconfig, fsmount,
    # fspick, mount_setattr
    *(135, 160, 303, 304),  # personality, setrlimit, name_to_handle_at, open_by_handle_at
    *(175, 313, 246, 320, 169, 163),  # init_module, finit_module, kexec's, reboot, acct
}
_CLONE_NEW_USER = 0x10000000
# TCP Fast Open connects in sendto, past Landlock's check of connect (landlock-lsm/linux, issue 41).
_MSG_FASTOPEN = 0x20000000


@dataclass(frozen=True)
class _Code:
    """Where the C library's two calls return to, as a filter sees it."""

    vfork: int
    execve: int


def is_supported() -> bool:
    """Return whether a filter can be made for this machine."""
    is_x86_64 = platform.machine() == "x86_64" and sys.maxsize > 1 << 32
    return sys.platform == "linux" and is_x86_64 and _own_calls() is not None


def program(*, client: bool) -> bytes:
    """Return the filter, as instructions for ``apply``; ``client`` allows to connect by TCP."""
    own = _own_calls()
    assert own
    filter_ = _only_this_architecture()
    for number in sorted(_ALWAYS | (_CONNECTED if client else set())):
        filter_ += _on(number, [])
    filter_ += _on(_IOCTL, _one_of(1, _TERMINAL_QUERIES))
    filter_ += _on(_PRCTL, _one_of(0, _THREAD_NAMES))
    # A new thread, and no new process. clone3 has its flags in memory, where no filter sees them;
    # a C library that is refused it calls clone.
    filter_ += _on(_CLONE, _masked(0, _CLONE_THREAD, _CLONE_THREAD))
    # To read its own limits, which are inherited anyway, and not to change any.
    filter_ += _on(_PRLIMIT, _own_limits())
    # Not killed, since this would be the thread that starts FFmpeg if something is wrong here.
    filter_ += _on(_VFORK, _from(own.vfork, _NOT_PERMITTED))
    # A guess costs the process, so that the address cannot be found by trying.
    filter_ += _on(_EXECVE, _from(own.execve, _KILL))
    if client:
        filter_ += _by_tcp()
    return b"".join([*filter_, _instruction(_RETURN, _NOT_IMPLEMENTED)])


def program_of_script(*, client: bool) -> bytes:
    """Return the filter for a script in FFmpeg's place, which starts processes and programs.

    It is wider than ``program``: it refuses the calls that reach out of the sandbox, and allows
    the others. Landlock still restricts which programs may be executed.
    """
    filter_ = _only_this_architecture()
    for number in sorted(_NEVER_IN_A_SCRIPT | (set() if client else {_SENDTO, *_CONNECTED})):
        filter_ += _on(number, [], _instruction(_RETURN, _NOT_IMPLEMENTED))
    filter_ += _by_tcp() if client else _on(_SOCKET, [], _instruction(_RETURN, _NOT_PERMITTED))
    filter_ += _on(_CLONE, _masked(0, _CLONE_NEW_USER, 0))
    filter_ += _on(_PRLIMIT, _own_limits())
    return b"".join([*filter_, _instruction(_RETURN, _ALLOW)])


def _only_this_architecture() -> list[bytes]:
    return [
        _instruction(_LOAD, _ARCH),
        _instruction(_EQUAL, _ARCHITECTURE, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _X32, 0, 1),
        _instruction(_RETURN, _NOT_IMPLEMENTED),
    ]


def _by_tcp() -> list[bytes]:
    """Return what allows sockets of TCP, and to send on connected ones."""
    socket = [
        *_masked(0, 0xFFFFFFFF, _AF_INET),
        *_masked(1, _SOCK_TYPE_MASK, _SOCK_STREAM),
        *_one_of(2, _PROTOCOLS),
    ]
    send = [*_masked(3, _MSG_FASTOPEN, 0), *_zero(4)]
    return [*_on(_SOCKET, socket), *_on(_SENDTO, send)]


def _own_limits() -> list[bytes]:
    return [*_masked(0, 0xFFFFFFFF, 0), *_zero(2)]


def apply(filter_: bytes) -> None:
    """Apply a filter to this thread and what it starts; other threads are not restricted.

    Call ``no_new_privileges`` first. Raises ``OSError`` where the kernel has no filters.
    """
    instructions = ctypes.create_string_buffer(filter_, len(filter_))
    address = ctypes.addressof(instructions)
    argument = struct.pack("@HP", len(filter_) // 8, address)  # struct sock_fprog
    syscall(_SECCOMP, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(0), argument)


def _own_calls() -> _Code | None:
    """Return where this process's C library makes the two calls, ``None`` if it is not found."""
    vfork, execve = _returns_to("vfork", _VFORK), _returns_to("execve", _EXECVE)
    return _Code(vfork, execve) if vfork and execve else None


def _returns_to(name: str, number: int) -> int | None:
    """Return the address after the ``syscall`` instruction in a function of the C library."""
    try:
        function = getattr(libc(), name)
    except AttributeError:
        return None
    start = ctypes.cast(function, ctypes.c_void_p).value
    assert start
    # mov $number, %eax; syscall
    code = re.escape(b"\xb8" + struct.pack("<I", number) + b"\x0f\x05")
    match = re.search(code, ctypes.string_at(start, 32), re.DOTALL)
    return start + match.end() if match else None


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


_ALLOWED = _instruction(_RETURN, _ALLOW)


def _on(number: int, conditions: list[bytes], answer: bytes = _ALLOWED) -> list[bytes]:
    """Return what a call with this number is answered by: ``conditions``, then ``answer``."""
    body = [*conditions, answer]
    # A condition loads other things; the number is not looked at again after one.
    return [_instruction(_EQUAL, number, 0, len(body)), *body]


def _masked(argument: int, mask: int, value: int) -> list[bytes]:
    """Return the condition that the low half of an argument has ``value`` under ``mask``."""
    return [
        _instruction(_LOAD, _ARGUMENTS + 8 * argument),
        _instruction(_AND, mask),
        _instruction(_EQUAL, value, 1, 0),
        _instruction(_RETURN, _NOT_PERMITTED),
    ]


def _zero(argument: int) -> list[bytes]:
    """Return the condition that an argument, such as a pointer, is zero."""
    return [
        _instruction(_LOAD, _ARGUMENTS + 8 * argument + 4),
        _instruction(_EQUAL, 0, 1, 0),
        _instruction(_RETURN, _NOT_PERMITTED),
        *_masked(argument, 0xFFFFFFFF, 0),
    ]


def _one_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    """Return the condition that the low half of an argument is one of ``values``."""
    tests = [
        _instruction(_EQUAL, value, len(values) - place, 0) for place, value in enumerate(values)
    ]
    refuse = _instruction(_RETURN, _NOT_PERMITTED)
    return [_instruction(_LOAD, _ARGUMENTS + 8 * argument), *tests, refuse]


def _from(address: int, otherwise: int) -> list[bytes]:
    """Return the condition that a call was made just before ``address``."""
    low, high = address & 0xFFFFFFFF, address >> 32
    return [
        _instruction(_LOAD, _POINTER),
        _instruction(_EQUAL, low, 0, 2),
        _instruction(_LOAD, _POINTER + 4),
        _instruction(_EQUAL, high, 1, 0),
        _instruction(_RETURN, otherwise),
    ]
