"""Dependencies that are down: a port that refuses, and one that accepts and never answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

KINDS = ("refusing", "silent")


@pytest.fixture(params=KINDS)
def dead_address(request: pytest.FixtureRequest) -> Iterator[str]:
    """``host:port`` of each kind in turn."""
    with socket.socket() as listener:
        # Bound but not listening, the port cannot be taken by another and refuses.
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(64)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
