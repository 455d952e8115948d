"""Checks whether a service's dependencies can be reached, all at the same time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from shared.core.errors import PipelineError

log = logging.getLogger(__name__)

#: How long one dependency may take to answer, in seconds.
TIMEOUT_S = 5.0


def check(
    parts: Mapping[str, Callable[[], object]], timeout_s: float = TIMEOUT_S
) -> dict[str, Any]:
    """Run each check; returns ``{"status": …, "components": {name: {"ok", "message", "ms"}}}``.

    Text that a check returns is its message.
    """
    # Not as a context: leaving it would wait for a check that never ends.
    pool = ThreadPoolExecutor(max_workers=max(1, len(parts)), thread_name_prefix="health")
    end = time.monotonic() + timeout_s
    asked = {name: pool.submit(_ask, part) for name, part in parts.items()}
    components = {}
    for name, future in asked.items():
        try:
            components[name] = future.result(timeout=max(0.0, end - time.monotonic()))
        except FutureTimeoutError:
            message = f"no answer within {timeout_s:g} s"
            components[name] = {"ok": False, "message": message, "ms": round(timeout_s * 1000)}
    pool.shutdown(wait=False)
    healthy = all(component["ok"] for component in components.values())
    return {"status": "ok" if healthy else "down", "components": components}


def _ask(part: Callable[[], object]) -> dict[str, Any]:
    start = time.monotonic()
    try:
        answer = part()
    except Exception as error:
        log.warning("a dependency is down: %s", error)
        # Our own errors are sentences; others need the name of their type to be understood.
        kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
        message = f"{kind}{error}".partition("\n")[0][:300]
        return {"ok": False, "message": message, "ms": _ms(start)}
    message = answer if isinstance(answer, str) else "ok"
    return {"ok": True, "message": message, "ms": _ms(start)}


def _ms(start: float) -> int:
    return round((time.monotonic() - start) * 1000)
