"""Clients are made once for each process, when they are first used."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.runtime.per_process import PerProcess


def test_nothing_is_made_before_it_is_used() -> None:
    made: list[int] = []
    client = PerProcess(lambda: made.append(1) or object())  # type: ignore[func-returns-value]
    assert made == []
    assert client() is client()
    assert made == [1]


def test_threads_that_come_at_once_get_the_same_one() -> None:
    barrier = threading.Barrier(8)
    client = PerProcess(object)

    def use(_: int) -> object:
        barrier.wait()
        return client()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(use, range(8)))) == 1


def test_a_failed_call_is_tried_again() -> None:
    answers = iter([ValueError("no credentials yet"), "client"])

    def make() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    client = PerProcess(make)
    with pytest.raises(ValueError, match="no credentials"):
        client()
    assert client() == "client"


def test_a_child_makes_its_own_though_the_parent_was_making_one() -> None:
    code = """
import os, threading
from shared.runtime.per_process import PerProcess
begun, go_on = threading.Event(), threading.Event()
def make():
    if os.getpid() == parent:
        begun.set()
        go_on.wait()
    return os.getpid()
parent = os.getpid()
client = PerProcess(make)
thread = threading.Thread(target=client)
thread.start()
begun.wait()
pid = os.fork()
if pid == 0:
    os._exit(0 if client() == os.getpid() else 1)
assert os.waitpid(pid, 0)[1] == 0
go_on.set()
thread.join()
assert client() == parent
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("adapter", ["documents", "storage", "queue"])
def test_importing_an_adapter_loads_no_other_and_starts_nothing(adapter: str) -> None:
    code = f"""
import sys, threading
import shared.adapters.google.{adapter}
loaded = {{name for name in sys.modules if name.startswith("google.")}}
others = {{"documents": "google.cloud.firestore", "storage": "google.cloud.storage",
          "queue": "google.pubsub_v1"}}
del others[{adapter!r}]
assert not loaded & set(others.values()), loaded & set(others.values())
assert "paramiko" not in sys.modules and "googleapiclient" not in sys.modules
assert threading.active_count() == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
