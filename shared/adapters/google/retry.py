"""Retries for calls to Google: within a deadline, decided by our own predicate."""

from __future__ import annotations

from google.api_core.retry import Retry

from shared.core.errors import is_transient


def within(deadline_s: float, *, unless: type[Exception] | tuple[()] = ()) -> Retry:
    """Return a wrapper that retries a call while its error is transient.

    Errors of the type ``unless`` are not retried; the caller starts the whole work again.

    It waits a random part of 0.2, 0.4, 0.8 … 5 seconds between attempts and starts none
    later than ``deadline_s`` after the first; then it raises a ``RetryError``, which is
    itself transient. The Google clients accept it as their ``retry``, in place of their
    own, which continue for 60 to 600 seconds.
    """

    def should_retry(error: Exception) -> bool:
        return is_transient(error) and not isinstance(error, unless)

    return Retry(
        predicate=should_retry, initial=0.2, multiplier=2.0, maximum=5.0, timeout=deadline_s
    )
