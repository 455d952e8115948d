"""The metrics of a service, in Prometheus's text format."""

from __future__ import annotations

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds: a recording of a minute to one of twelve hours.
_BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)


class Metrics:
    """The metrics of one process since it started."""

    def __init__(self) -> None:
        # Only here: the command line has the workers of a service, but no metrics.
        from prometheus_client import (  # noqa: PLC0415
            CollectorRegistry,
            Counter,
            Gauge,
            Histogram,
        )

        self._registry = CollectorRegistry()
        self.processed = Counter(
            "audio_extract_files_processed",
            "Recordings that ended here, by status",
            ["status"],
            registry=self._registry,
        )
        self.duration = Histogram(
            "audio_extract_processing_duration_seconds",
            "How long recordings took from claim to end",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.active = Gauge(
            "audio_extract_active_downloads",
            "Recordings that are being processed now",
            registry=self._registry,
        )
        self.rejected = Counter(
            "audio_extract_messages_rejected",
            "Malformed messages, which no retry can fix",
            registry=self._registry,
        )
        self.refused = Counter(
            "audio_extract_pushes_refused",
            "Pushes that could not be authenticated, by status of the answer",
            ["status"],
            registry=self._registry,
        )
        for status in ("DONE", "FAILED", "SKIPPED"):
            self.processed.labels(status)  # a rate needs a zero before the first increment

    def text(self) -> bytes:
        from prometheus_client import generate_latest  # noqa: PLC0415

        return generate_latest(self._registry)
