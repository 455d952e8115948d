"""How a call to Google's services is tried again: within a deadline, by our own predicate."""

from __future__ import annotations

from google.api_core.retry import Retry

from shared.core.errors import is_transient


def within(deadline_s: float, *, unless: type[Exception] | tuple[()] = ()) -> Retry:
    """Return the wrapper that repeats a call while its error is a transient one.

    Errors of the type ``unless`` are left to those who began the work, to do it all again.

    It waits a random part of 0.2, 0.4, 0.8 … 5 seconds between tries, and starts none
    later than ``deadline_s`` after the first; then it raises a ``RetryError``, which is
    transient itself. The Google clients take it as their ``retry`` in place of their
    own, which go on for 60 to 600 seconds.
    """

    def passes(error: Exception) -> bool:
        return is_transient(error) and not isinstance(error, unless)

    return Retry(predicate=passes, initial=0.2, multiplier=2.0, maximum=5.0, timeout=deadline_s)
