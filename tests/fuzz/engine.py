"""Feeds mutated inputs to parsers, and reports the first that breaks a promise.

Every input follows from a seed, the target's name and a number, so that each can be made again.
An input fails when it raises what its target does not promise, takes too long or too much memory,
connects anywhere, starts a process, or writes a file.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

#: Limits of one input: seconds of processor time, and bytes of memory beyond what was used before.
LIMIT_S = 2.0
LIMIT_BYTES = 64 << 20

Mutate = Callable[[random.Random, Sequence[bytes]], bytes]


@dataclass(frozen=True, kw_only=True)
class Target:
    """One way in from outside.

    ``run`` parses an input; ``expected`` are the errors that it may raise. ``share`` is how many
    of the inputs it gets, compared with other targets.
    """

    name: str
    seeds: Sequence[bytes]
    run: Callable[[bytes], object]
    expected: tuple[type[Exception], ...] = ()
    mutate: Mutate | None = None
    share: int = 1


class BrokenPromiseError(AssertionError):
    """An input that must be harmless is not."""

    def __init__(self, target: str, seed: int, number: int, data: bytes, why: str) -> None:
        super().__init__(
            f"{target}: {why}\n"
            f"  input {number} of seed {seed}, {len(data)} bytes: {data[:200]!r}\n"
            f"  replay: python -m tests.fuzz --target {target} --seed {seed} --number {number}\n"
            f"  or:     python -m tests.fuzz --target {target} --input {data[:2000].hex()}"
            + (" (cut)" if len(data) > 2000 else "")
        )


def make(target: Target, seed: int, number: int) -> bytes:
    """Return one input of a target. The first ones are its seeds as they are."""
    if number < len(target.seeds):
        return target.seeds[number]
    chance = random.Random(f"{seed}/{target.name}/{number}")
    return (target.mutate or mutated)(chance, target.seeds)


def fuzz(target: Target, seed: int, numbers: Iterable[int], until: float | None = None) -> int:
    """Run inputs, until a time if given; return how many. Raises ``BrokenPromiseError``."""
    count = 0
    for number in numbers:
        if until is not None and time.monotonic() > until:
            break
        check(target, make(target, seed, number), seed, number)
        count += 1
    return count


def check(target: Target, data: bytes, seed: int = 0, number: int = 0) -> None:
    """Run one input. Raises ``BrokenPromiseError``."""
    before = _memory()
    _guard.forbidden.clear()
    why = ""
    try:
        with _within(LIMIT_S), _guard.armed():
            target.run(data)
    except target.expected:
        pass
    except TooSlowError:
        why = f"took more than {LIMIT_S:g} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise BrokenPromiseError(target.name, seed, number, data, f"raised {error!r}") from error
    if _guard.forbidden:
        why = f"did what no parser does: {_guard.forbidden[0]}"
    elif _memory() - before > LIMIT_BYTES:
        why = f"took more than {LIMIT_BYTES >> 20} MiB"
    if why:
        raise BrokenPromiseError(target.name, seed, number, data, why)


def _memory() -> int:
    """Return the most memory that this process has ever used, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class TooSlowError(BaseException):
    """Not an ``Exception``: the code under test must not catch it."""


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # processor time: others may use this machine
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@dataclass
class _Guard:
    """Records what parsers must not do. An audit hook cannot be removed, so it is switched."""

    forbidden: list[str] = field(default_factory=list)
    is_armed: bool = False
    is_hooked: bool = False

    @contextmanager
    def armed(self) -> Iterator[None]:
        if not self.is_hooked:
            sys.addaudithook(self._hook)
            self.is_hooked = True
        self.is_armed = True
        try:
            yield
        finally:
            self.is_armed = False

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_armed:
            return
        if event.startswith(("socket.", "subprocess.", "os.", "shutil.", "ctypes.dlopen")):
            harmless = event in ("os.scandir", "os.listdir")  # an import looks for its module
            if not harmless:
                self.forbidden.append(f"{event} {arguments!r}"[:200])
        elif event == "open" and not _is_read_of_code(arguments):
            self.forbidden.append(f"{event} {arguments!r}"[:200])


def _is_read_of_code(arguments: tuple[Any, ...]) -> bool:
    """Whether a file is a module: the first input of a target imports what it needs."""
    path, mode, flags = arguments
    written = (mode or "r").strip("bt") != "r" if mode is not None else flags & 0x3
    return not written and str(path).endswith((".py", ".pyc", ".so", ".json", ".toml", ".zip"))


_guard = _Guard()

_INTERESTING = (
    *(0, 1, 2, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000),
    *(0xFFFFFFFE, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1),
)


def mutated(chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds with some changes of bytes, numbers, order and length."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4, 8, 16))):
        at = chance.randrange(len(data) + 1)
        end = min(len(data), at + chance.choice((1, 2, 4, 8, 16, 64)))
        change = chance.randrange(9)
        if change == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            data[at:end] = chance.randbytes(end - at)
        elif change == 2:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice(_INTERESTING) & ((1 << 8 * width) - 1)
            data[at : at + width] = number.to_bytes(width, chance.choice(("big", "little")))
        elif change == 3:
            del data[at:end]
        elif change == 4:
            data[at:at] = data[at:end] * chance.choice((1, 2, 100))
        elif change == 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            data[at:at] = other[start : start + chance.choice((4, 16, 256))]
        elif change == 6:
            del data[at:]
        elif change == 7:
            data[at:at] = bytes([chance.randrange(256)]) * chance.choice((1, 16, 1000, 10_000))
        else:
            data[at:end] = bytes(reversed(data[at:end]))
    return bytes(data[: 256 << 10])
