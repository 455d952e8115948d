"""Gauges over all recordings, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from functions.dashboard.context import Context

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(context: Context) -> bytes:
    """Return the current figures for a scraper."""
    registry = CollectorRegistry()
    recordings = Gauge(
        "audio_dashboard_recordings", "Recordings by status", ["status"], registry=registry
    )
    for status, number in context.stats.counts().items():
        recordings.labels(status).set(number)
    failures = Gauge(
        "audio_dashboard_failures", "FAILED recordings by code", ["code"], registry=registry
    )
    for code, number in context.stats.failures().items():
        failures.labels(code).set(number)
    oldest = context.stats.oldest_waiting()
    waiting = (context.tracker.clock() - oldest).total_seconds() if oldest else 0.0
    Gauge(
        "audio_dashboard_oldest_waiting_seconds",
        "How long the oldest QUEUED recording has waited",
        registry=registry,
    ).set(max(0.0, waiting))
    up = Gauge(
        "audio_dashboard_component_up",
        "1 for each component that can be reached, else 0",
        ["component"],
        registry=registry,
    )
    for name, component in context.monitor.health()["components"].items():
        up.labels(name.replace(" ", "_")).set(component["ok"])
    return generate_latest(registry)
