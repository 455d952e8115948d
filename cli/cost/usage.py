"""What a month of recordings makes the pipeline use on Google Cloud, as Terraform sets it up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cli.cost.bill import REST, Use
from cli.cost.plan import (
    ALERT_EVERY_S,
    ALERT_METRICS,
    CALLS_A_DAY,
    CLASS_A_EACH,
    CLASS_B_EACH,
    COLDLINE_AFTER_DAYS,
    COMPRESS,
    DAYS,
    DOCUMENT_BYTES,
    DRIVE_S,
    EXTRACT,
    FEED_READS,
    FEED_WRITES,
    FUNCTION,
    GIB,
    HEARTBEAT_S,
    IMAGES_GIB,
    LOG_BYTES,
    LOG_DAYS,
    LOGGED_BYTES,
    MAINTAIN_S,
    MESSAGE_BYTES,
    METRICS_MIB,
    NEARLINE_AFTER_DAYS,
    NIGHTLY_S,
    NOTIFICATIONS_A_DAY,
    NOTIFY_S,
    PUSH_LIMIT_S,
    READS_EACH,
    REQUEUE_QUERIES,
    REQUEUE_S,
    SCHEDULES,
    SIDE_BYTES,
    WAV_BYTES_PER_H,
    WRITES_EACH,
    Plan,
)


def uses(plan: Plan, month: int) -> list[Use]:
    """Return everything that the given month uses; the first month is 1."""
    return [
        *_cloud_run(plan),
        *_queue(plan),
        *_records(plan, month),
        *_storage(plan, month),
        *_rest(plan),
        *_network(plan),
    ]


@dataclass(frozen=True)
class _Part:
    """A part that runs on Cloud Run: how often a month, how long, on how much."""

    name: str
    calls: float
    seconds: float
    size: tuple[int, float]
    job: bool = False


def _parts(plan: Plan) -> list[_Part]:
    drives = plan.drives
    pushed_s = min(plan.work_s, PUSH_LIMIT_S)
    calls = {name: count * DAYS for name, count in CALLS_A_DAY.items()}
    requeue_s = REQUEUE_S + DRIVE_S["requeue"] * drives
    maintain_s = MAINTAIN_S + DRIVE_S["maintain"] * drives
    return [
        _Part("extract-audio", plan.recordings, pushed_s, EXTRACT),
        _Part("compress", plan.files, plan.compress_s, COMPRESS),
        _Part("notify", NOTIFICATIONS_A_DAY * DAYS * drives, NOTIFY_S, FUNCTION),
        _Part("maintain, each quarter", calls["maintain"], maintain_s, FUNCTION),
        _Part("requeue, each minute", calls["requeue"], requeue_s, FUNCTION),
        _Part("nightly", calls["nightly"] * bool(plan.sftp_hours), NIGHTLY_S, FUNCTION),
        _Part("job", plan.recordings * plan.needs_job, max(60, plan.work_s), EXTRACT, job=True),
    ]


def _cloud_run(plan: Plan) -> Iterator[Use]:
    parts = _parts(plan)
    for title, index, unit in (("processor", 0, "vCPU"), ("memory", 1, "GiB")):
        for part in parts:
            price = f"{'job' if part.job else 'run'}_{'cpu' if index == 0 else 'memory'}"
            size = part.size[index]
            why = f"{_n(part.calls)} times {_n(part.seconds)} s, {size:g} {unit}"
            quantity = part.calls * part.seconds * size
            yield Use(f"Cloud Run, {title}", part.name, price, quantity, why)
    calls = sum(part.calls for part in parts if not part.job)
    yield Use("Cloud Run, requests", "all services", "run_requests", calls, "the calls above")


def _queue(plan: Plan) -> Iterator[Use]:
    messages = plan.recordings + plan.files
    why = f"{_n(messages)} messages, published and pushed, 1,000 bytes each time"
    yield Use("Pub/Sub", "messages", "pubsub", messages * 2 * MESSAGE_BYTES / GIB, why)


def _records(plan: Plan, month: int) -> Iterator[Use]:
    section = "Firestore"
    reads, writes = _work_writes(plan)
    yield Use(section, "reads by work", "firestore_reads", *reads)
    yield Use(section, "reads by the clock", "firestore_reads", *_clock_reads(plan))
    yield Use(section, "reads to compare", "firestore_reads", *_compare_reads(plan, month))
    yield Use(section, "writes by work", "firestore_writes", *writes)
    yield Use(section, "writes by the clock", "firestore_writes", *_clock_writes(plan))
    channels = plan.drives * DAYS / 7
    why = "the channel of each Drive, once a week"
    yield Use(section, "deletes", "firestore_deletes", channels, why)
    documents = (plan.recordings + plan.files) * _mean_months(month)
    why = f"{_n(documents)} records on average, 10 kB each with indexes"
    yield Use(section, "stored", "firestore_storage", documents * DOCUMENT_BYTES / GIB, why)


_Amount = tuple[float, str]


def _work_writes(plan: Plan) -> tuple[_Amount, _Amount]:
    count = plan.recordings + plan.files
    beats = plan.recordings * _beats(plan.work_s) + plan.files * _beats(plan.compress_s)
    reads = count * READS_EACH
    writes = count * WRITES_EACH + beats
    return (
        (reads, f"{_n(count)} recordings, {READS_EACH} each"),
        (writes, f"{_n(count)} recordings, {WRITES_EACH} each, and {_n(beats)} heartbeats"),
    )


def _beats(seconds: float) -> int:
    return math.floor(seconds / HEARTBEAT_S)


def _calls() -> dict[str, float]:
    calls = {name: CALLS_A_DAY[name] * DAYS for name in ("requeue", "maintain")}
    return calls | {"notify": NOTIFICATIONS_A_DAY * DAYS}


def _clock_reads(plan: Plan) -> _Amount:
    calls = _calls()
    queries = (calls["requeue"] + calls["maintain"]) * REQUEUE_QUERIES
    feeds = plan.drives * sum(calls[name] * FEED_READS[name] for name in calls)
    return queries + feeds, f"{_n(queries)} queries of the requeue, {_n(feeds)} for Drives"


def _clock_writes(plan: Plan) -> _Amount:
    calls = _calls()
    return (
        plan.drives * sum(calls[name] * FEED_WRITES[name] for name in calls),
        f"{FEED_WRITES['notify']} for each notification, and for each Drive in a quarter",
    )


def _compare_reads(plan: Plan, month: int) -> _Amount:
    last_day = plan.recordings * CALLS_A_DAY["maintain"]
    known = (plan.recordings + plan.files) * _mean_months(month)
    return (
        last_day + known * DAYS,
        f"{_n(plan.recordings)} recordings 96 times on their first day, {_n(known)} once a day",
    )


def _mean_months(month: int) -> float:
    """Return how many months' worth has piled up, on the average of a month."""
    return month - 0.5


def _storage(plan: Plan, month: int) -> Iterator[Use]:
    section = "Cloud Storage"
    made = plan.audio_gib + plan.compressed_gib
    ages = (0, NEARLINE_AFTER_DAYS, COLDLINE_AFTER_DAYS, math.inf)
    for index, name in enumerate(("standard", "nearline", "coldline")):
        young, old = ages[index], ages[index + 1]
        kept = made * _months_aged(month, young, old)
        why = f"{_n(made)} GiB a month, {_ages(young, old)}"
        yield Use(section, f"audio, {name}", f"storage_{name}", kept, why)
    count = plan.recordings + plan.files
    beside = count * SIDE_BYTES * _mean_months(month)
    beside += count * LOG_BYTES * _months_aged(month, 0, LOG_DAYS)
    why = "waveforms, and logs of the last 90 days"
    yield Use(section, "beside the audio", "storage_standard", beside / GIB, why)
    yield from _operations(plan, month)


def _ages(young: float, old: float) -> str:
    return (
        f"older than {young:.0f} days" if old == math.inf else f"{young:.0f} to {old:.0f} days old"
    )


def _operations(plan: Plan, month: int) -> Iterator[Use]:
    section, count = "Cloud Storage", plan.recordings + plan.files
    each = f"{_n(count)} recordings"
    yield Use(
        section, "writes and lists", "storage_class_a",
        count * CLASS_A_EACH, f"{each}, {CLASS_A_EACH} each",
    )  # fmt: skip
    yield Use(
        section, "reads", "storage_class_b",
        count * CLASS_B_EACH, f"{each}, {CLASS_B_EACH} each",
    )  # fmt: skip
    for name, days in (("nearline", NEARLINE_AFTER_DAYS), ("coldline", COLDLINE_AFTER_DAYS)):
        moved = count * _grown(month, days)
        why = f"{_n(moved)} files reach {days} days"
        yield Use(section, f"moves to {name}", f"storage_to_{name}", moved, why)


def _months_aged(month: int, young: float, old: float) -> float:
    """Return how many months' worth is of an age in days, on the average of a month.

    Recordings come evenly, so that at a time t in days since the start the part older
    than a is t - a days' worth; this is its mean over the month.
    """
    return _mean_older(month, young) - (0 if old == math.inf else _mean_older(month, old))


def _mean_older(month: int, days: float) -> float:
    begin, end = (month - 1) * DAYS - days, month * DAYS - days
    return (max(0.0, end) ** 2 - max(0.0, begin) ** 2) / (2 * DAYS * DAYS)


def _grown(month: int, days: float) -> float:
    """Return which part of a month's worth reaches an age during a month."""
    return min(1.0, max(0.0, month * DAYS - days) / DAYS)


def _rest(plan: Plan) -> Iterator[Use]:
    calls = sum(part.calls for part in _parts(plan))
    logged = calls * LOGGED_BYTES["call"]
    logged += (plan.recordings + plan.files) * LOGGED_BYTES["recording"]
    section = REST
    yield Use(section, "Artifact Registry", "artifact_registry", IMAGES_GIB, "images and builds")
    yield Use(section, "Scheduler", "scheduler", SCHEDULES, "maintain, requeue, nightly")
    yield Use(section, "Secret Manager", "secret_versions", 2, "the empty one, and yours")
    starts = plan.files + DAYS * bool(plan.sftp_hours)
    yield Use(section, "secret accesses", "secret_accesses", starts, "one when a function starts")
    why = f"{_n(calls)} calls, 2 kB each, and 20 kB a recording"
    yield Use(section, "Logging", "logging", logged / GIB, why)
    why = "ten counters, three distributions, each minute"
    yield Use(section, "log-based metrics", "metrics", METRICS_MIB, why)
    yield Use(section, "alerts", "alert_metrics", ALERT_METRICS, "named by all queries together")
    points = ALERT_METRICS * DAYS * 86_400 / ALERT_EVERY_S
    yield Use(section, "alerts", "alert_points", points, "each once a minute")


def _network(plan: Plan) -> Iterator[Use]:
    section, month_h = "Network", DAYS * 24
    out = plan.compressed_gib * plan.mirror
    if plan.mirror:
        why = "compressed files, to the SFTP server"
        yield Use(section, "mirror", "internet_egress", out, why)
    if plan.static_ip:
        yield Use(section, "fixed address", "external_address", month_h, "the whole month")
        yield Use(section, "NAT gateway", "nat_gateway", month_h, "at most: one instance, always")
        through = plan.sftp_hours * WAV_BYTES_PER_H / GIB + out
        why = "what the SFTP server sends and gets"
        yield Use(section, "NAT data", "nat_data", through, why)


def _n(value: float) -> str:
    """Return a number as people read it."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
