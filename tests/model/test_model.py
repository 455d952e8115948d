"""The protocol of claims, leases, requeues and page tokens, in every interleaving.

What is assumed of the world outside is in docs/adr/0024-chaos-and-model.md. Each broken variant
of the code has to be caught: a check that cannot fail proves nothing.
"""

from __future__ import annotations
import __future__

import inspect
import os
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from functions.drive_watch.changes import Drain
from shared.tracking import lease, leased_document, requeue, tracker
from shared.tracking.leased_document import Heartbeat, Lease, LeasedDocument
from shared.tracking.tracker import Tracker
from tests.model.explorer import Budget, Explorer, InvariantError, World
from tests.model.page_token import PageTokenWorld, change
from tests.model.recordings import RecordingWorld

#: Clocks are this much fast or slow. They differ by less than a lease: otherwise each process would
#: find the other's lease expired as soon as it is written.
SKEW_S = 15.0


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "audio.mp3"
    path.write_bytes(b"the same bytes in every run")
    return path


@pytest.fixture(autouse=True)
def one_thread_an_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what is about real time: heartbeats, and the thread that Ctrl-C spares."""
    monkeypatch.setattr(lease, "run_interruptible", lambda work, *_, **__: work())
    monkeypatch.setattr(Heartbeat, "start", lambda _: None)
    monkeypatch.setattr(Heartbeat, "stop", lambda _: None)


@pytest.fixture(autouse=True)
def owners_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name leases by their actor and its count: random names would make no two states equal."""
    # By thread, since each execution has new ones. Their idents are used again.
    numbers: WeakKeyDictionary[threading.Thread, int] = WeakKeyDictionary()

    def new_owner() -> str:
        thread = threading.current_thread()
        numbers[thread] = numbers.get(thread, 0) + 1
        return f"{thread.name} {numbers[thread]}"

    monkeypatch.setattr(leased_document, "new_owner", new_owner)


@pytest.fixture(autouse=True)
def one_processor() -> Iterator[None]:
    """Stay on one processor: handing over from thread to thread is several times as fast."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    yield
    os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Case:
    """Who acts, in which state, and how many faults may happen."""

    parts: tuple[str, ...]
    budget: Budget
    before: str | None = "QUEUED"
    skews: tuple[float, ...] = ()

    def world(self, audio: Path) -> Callable[[], World]:
        skews = self.skews or (0.0,) * len(self.parts)
        parts = list(zip(self.parts, skews, strict=True))
        return lambda: RecordingWorld(parts, audio, self.before)

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in vars(self.budget).items() if count)
        skewed = ", skewed" if any(self.skews) else ""
        return f"{' + '.join(self.parts)} from {self.before}: {faults or 'no faults'}{skewed}"


TWO = ("deliver", "deliver")
CASES = [
    Case(TWO, Budget(), before=None),
    Case(TWO, Budget(crashes=2)),
    Case(TWO, Budget(ticks=1)),
    Case(TWO, Budget(lost=1)),
    Case(TWO, Budget(repeats=1)),
    Case(TWO, Budget(), before="PROCESSING", skews=(-SKEW_S, SKEW_S)),
    Case(("trashed", "restore"), Budget()),
    Case(("publish", "deliver"), Budget(crashes=1, lost=1), before=None),
    Case(("publish", "deliver"), Budget(repeats=1), before=None),
    Case(("publish", "publish"), Budget(crashes=1, repeats=1), before=None),
    Case(("deliver", "requeue"), Budget(crashes=1, ticks=1)),
    Case(("deliver", "requeue"), Budget(lost=1), before="PROCESSING"),
    Case(("deliver", "requeue"), Budget(repeats=1), before="PROCESSING"),
    Case(("deliver", "requeue"), Budget(), before="PROCESSING", skews=(-SKEW_S, SKEW_S)),
    Case(("requeue", "requeue"), Budget(crashes=1, lost=1), before="PROCESSING"),
    Case(("deliver", "retry"), Budget(crashes=1)),
    Case(("deliver", "retry"), Budget(lost=1), before="DONE"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_recording_ends_once_in_every_interleaving(case: Case, audio: Path) -> None:
    explorer = Explorer(case.world(audio), case.budget)
    explorer.run()
    assert explorer.executions > 10


DRAINS = [
    Budget(),
    Budget(crashes=1),
    Budget(lost=1),
    Budget(repeats=1),
    Budget(ticks=1),
    Budget(crashes=1, ticks=1),
]


@pytest.mark.parametrize("budget", DRAINS, ids=str)
def test_the_page_token_moves_last_in_every_interleaving(budget: Budget) -> None:
    explorer = Explorer(lambda: PageTokenWorld((SKEW_S, -SKEW_S), [change(1)]), budget)
    explorer.run()
    assert explorer.executions > 10


@dataclass(frozen=True)
class Mutant:
    """One line of the code replaced by a wrong one, and where that has to be found."""

    why: str
    owner: Any
    function: str
    line: str
    wrong: str
    case: Case | Budget  # of two drains

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        original = getattr(self.owner, self.function)
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(self.line) == 1, "the code has changed: find another line"
        code = compile(
            source.replace(self.line, self.wrong),
            inspect.getsourcefile(original) or "",
            "exec",
            flags=__future__.annotations.compiler_flag,
        )
        made: dict[str, Any] = {}
        exec(code, original.__globals__, made)
        patch.setattr(self.owner, self.function, made[self.function])
        if inspect.ismodule(self.owner):
            for module in (leased_document, tracker, requeue):
                patch.setattr(module, self.function, made[self.function], raising=False)


MUTANTS = [
    Mutant(
        "a worker writes under another's lease",
        Lease,
        "update",
        'if current.get("lease_owner") != self._owner:',
        "if False:",
        Case(TWO, Budget(ticks=1)),
    ),
    Mutant(
        "a live lease is not refused",
        Tracker,
        "_refusal",
        "if current.status is Status.PROCESSING and not self.has_expired(current):",
        "if False:",
        Case(TWO, Budget()),
    ),
    Mutant(
        "what has ended is claimed again",
        Tracker,
        "_refusal",
        "return None if item.force and is_newer else ClaimRefusal.FINISHED",
        "return None",
        Case(TWO, Budget()),
    ),
    Mutant(
        "after a conflict the old decision is written",
        leased_document,
        "write_document",
        "    read = documents.get(collection, doc_id)\n",
        "    read = documents.get(collection, doc_id)\n"
        "            return documents.replace(collection, read, wanted)\n",
        Case(TWO, Budget()),
    ),
    Mutant(
        "the requeue takes a lease that was just given",
        Tracker,
        "count_crash",
        " or not self.has_expired(current)",
        "",
        Case(("deliver", "requeue"), Budget(), before="PROCESSING"),
    ),
    Mutant(
        "the requeue does not look for crashes",
        requeue,
        "_due",
        'yield ("status", Op.EQ, Status.PROCESSING.value), ("lease_expires_at", Op.LE, now)',
        "",
        Case(("deliver", "requeue"), Budget(crashes=1)),
    ),
    Mutant(
        "the publisher overwrites a faster worker",
        Tracker,
        "enqueue",
        "self.documents.create(COLLECTION, item.key, recording.to_document())",
        "write_document(self.documents, COLLECTION, item.key, lambda _: recording.to_document())",
        Case(("publish", "deliver"), Budget(), before=None),
    ),
    Mutant(
        "the page token moves before its page is published",
        Drain,
        "_drain",
        "drained.published += self._publish(page, lease)",
        "lease.write(page_token=page.token)",
        Budget(),
    ),
    Mutant(
        "two processes have the page token's lease",
        LeasedDocument,
        "acquire",
        "wanted = None if current and is_leased(current, self.clock) else current",
        "wanted = current",
        Budget(),
    ),
    Mutant(
        "a process that was frozen past its lease moves the page token",
        Lease,
        "update",
        'if current.get("lease_owner") != self._owner:',
        "if False:",
        Budget(ticks=1),
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.why)
def test_a_broken_variant_is_found(
    mutant: Mutant, audio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant.apply(monkeypatch)
    case = mutant.case
    if isinstance(case, Case):
        explorer = Explorer(case.world(audio), case.budget)
    else:
        explorer = Explorer(lambda: PageTokenWorld((0.0, 0.0), [change(1)]), case)
    with pytest.raises(InvariantError):
        explorer.run()
