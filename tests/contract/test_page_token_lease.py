"""The lease of a page token."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from functions.drive_watch.watch import STATES
from shared.core.errors import LeaseLostError
from shared.core.ports import Documents
from shared.tracking.leased_document import LeasedDocument, is_leased
from tests.backends import on_every_database
from tests.services import until

LEASE = timedelta(seconds=30)


def now() -> datetime:
    return datetime.now(UTC)


def leased(
    documents: Documents, lease: timedelta = LEASE, clock: Callable[[], datetime] = now
) -> LeasedDocument:
    return LeasedDocument(documents, STATES, "default", lease, clock)


@on_every_database
def test_there_is_no_lease_before_there_is_a_document(documents: Documents) -> None:
    assert leased(documents).acquire() is None
    assert leased(documents).read() is None


@on_every_database
def test_the_first_create_wins(documents: Documents) -> None:
    state = leased(documents)
    assert state.create({"page_token": "1"})["page_token"] == "1"
    assert state.create({"page_token": "2"})["page_token"] == "1"


@on_every_database
def test_one_of_many_gets_it(documents: Documents) -> None:
    state = leased(documents)
    state.create({"page_token": "1"})
    with ThreadPoolExecutor(12) as pool:
        holds = [hold for hold in pool.map(lambda _: state.acquire(), range(12)) if hold]
    assert len(holds) == 1
    with holds[0]:
        assert state.acquire() is None
    again = state.acquire()
    assert again


def test_one_that_ran_out_is_taken_over_and_writes_no_more(documents: Documents) -> None:
    passed = timedelta()
    state = leased(documents, clock=lambda: now() + passed)
    state.create({"page_token": "1"})
    first = state.acquire()
    assert first
    assert not state.was_abandoned(state.read() or {})
    passed += LEASE
    assert state.was_abandoned(state.read() or {})
    first.write(page_token="2")  # expiry alone takes nothing away
    passed += LEASE
    second = state.acquire()
    assert second
    with pytest.raises(LeaseLostError):
        first.write(page_token="3")
    assert (state.read() or {})["page_token"] == "2"


def test_a_heartbeat_keeps_it(documents: Documents) -> None:
    state = leased(documents, timedelta(seconds=3))
    state.create({})
    hold = state.acquire()
    assert hold
    with hold:
        at_first = _expiry(state)
        until(lambda: _expiry(state) > at_first, what="a heartbeat")
        assert is_leased(state.read() or {}, state.clock)
        assert state.acquire() is None


def _expiry(state: LeasedDocument) -> datetime:
    expires: datetime = (state.read() or {})["lease_expires_at"]
    return expires


@on_every_database
def test_writes_of_others_meanwhile_are_kept(documents: Documents) -> None:
    state = leased(documents)
    state.create({"page_token": "1"})
    hold = state.acquire()
    assert hold
    with hold:
        state.change(lambda _: {"full_compare_at": datetime(2025, 1, 1, tzinfo=UTC)})
        hold.write(page_token="2")
    document = state.read() or {}
    assert document["page_token"] == "2"
    assert document["full_compare_at"]
    assert document["lease_owner"] is None


@on_every_database
def test_a_document_that_is_gone(documents: Documents) -> None:
    state = leased(documents)
    state.create({})
    hold = state.acquire()
    read = documents.get(STATES, "default")
    assert hold
    assert read
    documents.delete(STATES, read)
    with pytest.raises(LeaseLostError):
        hold.write(page_token="2")
    state.change(lambda _: {"page_token": "3"})
    assert state.read() is None
