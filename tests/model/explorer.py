"""Runs several workers one step at a time, and tries every order of their steps.

A worker is a thread that stops before each call to something shared: a document, an object, the
queue, Drive. The explorer decides who goes on, and what happens to the call. Each execution
starts from the beginning and repeats a list of choices; the tree of choices is searched depth
first. A state that was reached before, with the same documents and the same answers seen by
each worker, is not searched again: the workers' code decides by these alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

#: More steps than any execution takes, unless workers wait for one another for ever.
_MAX_STEPS = 400


class InvariantError(AssertionError):
    """The pipeline broke a promise; the message ends with the choices that lead to it."""


class Crash(BaseException):
    """The worker's process was killed: nothing that it does from now on has an effect."""


@dataclass(frozen=True)
class Choice:
    """One step: ``actor`` goes on, or time passes (no actor).

    ``how`` is ``go``; ``crash`` (killed before the call); ``lose`` (the call succeeds, its
    answer is lost and the caller sees a transient error); ``repeat`` (the answer is lost and
    the client sends the call again, which then meets its own write).
    """

    actor: str
    how: str
    what: str = ""

    def __str__(self) -> str:
        return f"{self.actor} {self.how} {self.what}".strip()


@dataclass(frozen=True)
class Budget:
    """How often each fault may happen in one execution. ``ticks``: a lease's time passes."""

    crashes: int = 0
    lost: int = 0
    repeats: int = 0
    ticks: int = 0

    def without(self, how: str) -> Budget:
        """Return what is left after one choice."""
        spent = {"crash": "crashes", "lose": "lost", "repeat": "repeats", "tick": "ticks"}
        name = spent.get(how)
        return Budget(**{**vars(self), name: getattr(self, name) - 1}) if name else self


class Actor:
    """One worker: a program in a thread of its own, and what it has seen so far."""

    def __init__(self, name: str, program: Callable[[], object], skew_s: float = 0.0) -> None:
        self.name = name
        self.skew_s = skew_s
        self.is_over = False
        self.is_crashed = False
        self.error: Exception | None = None
        self.pending: tuple[str, bool] = ("", False)
        self.seen = 0
        self.owners: set[str] = set()
        self._program = program
        self._how = ""
        self._go, self._ready = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._ready.acquire()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Run up to the first call."""
        self._thread.start()
        self._ready.acquire()

    def proceed(self, how: str) -> None:
        """Do the pending call, and run up to the next one."""
        self._how = how
        self._go.release()
        self._ready.acquire()

    def _run(self) -> None:
        try:
            self._program()
        except Crash:
            pass
        except Exception as error:
            self.error = self.error or error
        self.is_over = True
        self._ready.release()

    def wait(self, what: str, *, writes: bool) -> str:
        """Stop before a call; returns how it ends. Called by the program's threads."""
        if self.is_crashed:
            raise Crash
        self.pending = what, writes
        self._ready.release()
        self._go.acquire()
        if self._how == "crash":
            self.is_crashed = True
            raise Crash
        return self._how

    def remember(self, what: str, how: str, answer: object) -> None:
        """Note an answer: with the program, these decide everything that it does."""
        self.seen = hash((self.seen, what, how, repr(answer)))


class World(Protocol):
    """What the actors share; a new one for each execution."""

    actors: Sequence[Actor]

    def tick(self) -> None:
        """Let a lease's time pass."""

    def state(self) -> object:
        """Return everything shared, hashable."""

    def end(self) -> None:
        """Let the system recover without further faults, and check what has become of it."""


@dataclass
class Explorer:
    """Searches every execution of a world within a budget of faults."""

    make: Callable[[], World]
    budget: Budget
    executions: int = 0
    states: set[int] = field(default_factory=set)

    def run(self) -> None:
        """Search everything; raises ``InvariantError`` with the choices that lead to it."""
        todo: list[tuple[Choice, ...]] = [()]
        while todo:
            todo += self._execute(todo.pop())

    def _execute(self, prefix: tuple[Choice, ...]) -> Iterator[tuple[Choice, ...]]:
        """Repeat the choices, then always take the first; returns what else could be taken."""
        self.executions += 1
        world, budget = self.make(), self.budget
        trace: list[Choice] = []
        others: list[tuple[Choice, ...]] = []
        by_name = {actor.name: actor for actor in world.actors}
        try:
            for actor in world.actors:
                actor.start()
            while True:
                if len(trace) < len(prefix):
                    choice = prefix[len(trace)]
                else:
                    if self._was_here(world, budget):
                        break
                    choices = list(_choices(world, budget))
                    if not choices:
                        world.end()
                        break
                    choice = choices[0]
                    others += [(*trace, other) for other in choices[1:]]
                trace.append(choice)
                budget = budget.without(choice.how)
                if choice.actor:
                    by_name[choice.actor].proceed(choice.how)
                else:
                    world.tick()
                self._check(by_name.values(), trace)
        except InvariantError as error:
            steps = "\n".join(f"  {number}. {one}" for number, one in enumerate(trace, 1))
            raise InvariantError(f"{error}\n{steps}") from error
        finally:
            for actor in world.actors:
                while not actor.is_over:
                    actor.proceed("crash")
        return iter(others)

    def _was_here(self, world: World, budget: Budget) -> bool:
        workers = tuple((one.seen, one.is_over, one.is_crashed) for one in world.actors)
        place = hash((world.state(), workers, budget))
        if place in self.states:
            return True
        self.states.add(place)
        return False

    @staticmethod
    def _check(actors: Iterator[Actor] | Any, trace: Sequence[Choice]) -> None:
        for actor in actors:
            if isinstance(actor.error, InvariantError):
                raise actor.error
        if len(trace) > _MAX_STEPS:
            raise InvariantError("the workers do not come to an end")


def _choices(world: World, budget: Budget) -> Iterator[Choice]:
    running = [actor for actor in world.actors if not actor.is_over]
    for actor in running:
        yield Choice(actor.name, "go", actor.pending[0])
    for actor in running:
        what, writes = actor.pending
        if writes and budget.crashes:  # a crash before a read is one before the next write
            yield Choice(actor.name, "crash", f"before {what}")
        if writes and budget.lost:
            yield Choice(actor.name, "lose", what)
        if writes and budget.repeats:
            yield Choice(actor.name, "repeat", what)
    if running and budget.ticks:
        yield Choice("", "tick")
