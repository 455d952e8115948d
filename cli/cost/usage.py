"""What a month of recordings uses on Google Cloud, for the resources of infra/terraform."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cli.cost import plan as cost
from cli.cost.bill import REST, Use
from cli.cost.plan import DAYS, GIB, Plan


def uses(plan: Plan, month: int) -> list[Use]:
    """Return everything that the given month uses; the first month is 1."""
    return [
        *_cloud_run(plan),
        *_pubsub(plan),
        *_firestore(plan, month),
        *_storage(plan, month),
        *_rest(plan),
        *_network(plan),
    ]


@dataclass(frozen=True)
class _Part:
    """A part that runs on Cloud Run: calls per month, seconds per call, vCPUs and GiB."""

    name: str
    calls: float
    seconds: float
    size: tuple[int, float]
    job: bool = False


def _parts(plan: Plan) -> list[_Part]:
    calls = {name: count * DAYS for name, count in cost.CALLS_A_DAY.items()}
    requeue_s = cost.REQUEUE_S + cost.DRIVE_S["requeue"] * plan.drives
    maintain_s = cost.MAINTAIN_S + cost.DRIVE_S["maintain"] * plan.drives
    pushed_s = min(plan.work_s, cost.PUSH_LIMIT_S)
    notifications = cost.NOTIFICATIONS_A_DAY * DAYS * plan.drives
    nights = calls["nightly"] * bool(plan.sftp_hours)
    jobs = plan.recordings * plan.needs_job
    return [
        _Part("extract-audio", plan.recordings, pushed_s, cost.EXTRACT),
        _Part("compress", plan.files, plan.compress_s, cost.COMPRESS),
        _Part("notify", notifications, cost.NOTIFY_S, cost.FUNCTION),
        _Part("maintain, every 15 minutes", calls["maintain"], maintain_s, cost.FUNCTION),
        _Part("requeue, every minute", calls["requeue"], requeue_s, cost.FUNCTION),
        _Part("nightly", nights, cost.NIGHTLY_S, cost.FUNCTION),
        _Part("job", jobs, max(60, plan.work_s), cost.EXTRACT, job=True),
    ]


def _cloud_run(plan: Plan) -> Iterator[Use]:
    parts = _parts(plan)
    for title, index, unit in (("processor", 0, "vCPU"), ("memory", 1, "GiB")):
        for part in parts:
            price = f"{'job' if part.job else 'run'}_{'cpu' if index == 0 else 'memory'}"
            size = part.size[index]
            why = f"{_n(part.calls)} × {_n(part.seconds)} s × {size:g} {unit}"
            quantity = part.calls * part.seconds * size
            yield Use(f"Cloud Run, {title}", part.name, price, quantity, why)
    calls = sum(part.calls for part in parts if not part.job)
    yield Use("Cloud Run, requests", "all services", "run_requests", calls, "the calls above")


def _pubsub(plan: Plan) -> Iterator[Use]:
    messages = plan.recordings + plan.files
    why = f"{_n(messages)} messages, published and pushed, 1,000 bytes each time"
    yield Use("Pub/Sub", "messages", "pubsub", messages * 2 * cost.MESSAGE_BYTES / GIB, why)


def _firestore(plan: Plan, month: int) -> Iterator[Use]:
    def use(name: str, price: str, quantity: float, why: str) -> Use:
        return Use("Firestore", name, f"firestore_{price}", quantity, why)

    count = plan.recordings + plan.files
    calls = {name: cost.CALLS_A_DAY[name] * DAYS for name in ("requeue", "maintain")}
    calls["notify"] = cost.NOTIFICATIONS_A_DAY * DAYS
    known = count * _mean_months(month)

    why = f"{_n(count)} recordings × {cost.READS_EACH}"
    yield use("reads by workers", "reads", count * cost.READS_EACH, why)
    queries = (calls["requeue"] + calls["maintain"]) * cost.REQUEUE_QUERIES
    feeds = plan.drives * sum(calls[name] * cost.FEED_READS[name] for name in calls)
    why = f"{_n(queries)} queries of the requeue, {_n(feeds)} for Drives"
    yield use("reads by schedules", "reads", queries + feeds, why)
    compared = plan.recordings * cost.CALLS_A_DAY["maintain"] + known * DAYS
    why = f"{_n(plan.recordings)} recordings 96 times on their first day, {_n(known)} daily"
    yield use("reads by scans", "reads", compared, why)

    beats = plan.recordings * math.floor(plan.work_s / cost.HEARTBEAT_S)
    beats += plan.files * math.floor(plan.compress_s / cost.HEARTBEAT_S)
    why = f"{_n(count)} recordings × {cost.WRITES_EACH}, and {_n(beats)} heartbeats"
    yield use("writes by workers", "writes", count * cost.WRITES_EACH + beats, why)
    writes = plan.drives * sum(calls[name] * cost.FEED_WRITES[name] for name in calls)
    why = f"{cost.FEED_WRITES['notify']} per notification, and per Drive every 15 minutes"
    yield use("writes by schedules", "writes", writes, why)

    yield use("deletes", "deletes", plan.drives * DAYS / 7, "the channel of each Drive, weekly")
    why = f"{_n(known)} records on average, 10 kB each with indexes"
    yield use("stored", "storage", known * cost.DOCUMENT_BYTES / GIB, why)


def _mean_months(month: int) -> float:
    """Return how many months' worth is stored, on the average of a month."""
    return month - 0.5


def _storage(plan: Plan, month: int) -> Iterator[Use]:
    def use(name: str, price: str, quantity: float, why: str) -> Use:
        return Use("Cloud Storage", name, f"storage_{price}", quantity, why)

    made, count = plan.audio_gib + plan.compressed_gib, plan.recordings + plan.files
    for name, young, old, ages in (
        ("standard", 0, cost.NEARLINE_AFTER_DAYS, "0 to 30 days old"),
        ("nearline", cost.NEARLINE_AFTER_DAYS, cost.COLDLINE_AFTER_DAYS, "30 to 90 days old"),
        ("coldline", cost.COLDLINE_AFTER_DAYS, math.inf, "older than 90 days"),
    ):
        kept = made * _months_aged(month, young, old)
        yield use(f"audio, {name}", name, kept, f"{_n(made)} GiB per month, {ages}")
    other = count * cost.SIDE_BYTES * _mean_months(month)
    other += count * cost.LOG_BYTES * _months_aged(month, 0, cost.LOG_DAYS)
    yield use("other objects", "standard", other / GIB, "waveforms, and logs of the last 90 days")

    why = f"{_n(count)} recordings × {cost.CLASS_A_EACH}"
    yield use("writes and lists", "class_a", count * cost.CLASS_A_EACH, why)
    why = f"{_n(count)} recordings × {cost.CLASS_B_EACH}"
    yield use("reads", "class_b", count * cost.CLASS_B_EACH, why)
    for name, days in (
        ("nearline", cost.NEARLINE_AFTER_DAYS),
        ("coldline", cost.COLDLINE_AFTER_DAYS),
    ):
        # The part of a month's files that reaches this age during the month.
        moved = count * min(1.0, max(0.0, month * DAYS - days) / DAYS)
        yield use(f"moves to {name}", f"to_{name}", moved, f"{_n(moved)} files reach {days} days")


def _months_aged(month: int, young: float, old: float) -> float:
    """Return how many months' worth has an age from ``young`` to ``old`` days.

    Recordings arrive evenly: at day t, t - a days' worth is older than a. This is the mean
    over the month.
    """

    def older(days: float) -> float:
        begin, end = (month - 1) * DAYS - days, month * DAYS - days
        return (max(0.0, end) ** 2 - max(0.0, begin) ** 2) / (2 * DAYS * DAYS)

    return older(young) - (0 if old == math.inf else older(old))


def _rest(plan: Plan) -> Iterator[Use]:
    def use(name: str, price: str, quantity: float, why: str) -> Use:
        return Use(REST, name, price, quantity, why)

    calls = sum(part.calls for part in _parts(plan))
    logged = calls * cost.LOGGED_BYTES["call"]
    logged += (plan.recordings + plan.files) * cost.LOGGED_BYTES["recording"]
    yield use("Artifact Registry", "artifact_registry", cost.IMAGES_GIB, "images and builds")
    yield use("Scheduler", "scheduler", cost.SCHEDULES, "maintain, requeue, nightly")
    yield use(
        "Secret Manager",
        "secret_versions",
        3,
        "the login's empty first version and yours, and the channels' key",
    )
    starts = plan.files + DAYS * bool(plan.sftp_hours)
    yield use("secret accesses", "secret_accesses", starts, "one at each start of a function")
    why = f"{_n(calls)} calls × 2 kB, and 20 kB per recording"
    yield use("Logging", "logging", logged / GIB, why)
    why = "ten counters and three distributions, each minute"
    yield use("log-based metrics", "metrics", cost.METRICS_MIB, why)
    yield use("alerts", "alert_metrics", cost.ALERT_METRICS, "metrics in all queries together")
    points = cost.ALERT_METRICS * DAYS * 86_400 / cost.ALERT_EVERY_S
    yield use("alerts", "alert_points", points, "each once a minute")


def _network(plan: Plan) -> Iterator[Use]:
    def use(name: str, price: str, quantity: float, why: str) -> Use:
        return Use("Network", name, price, quantity, why)

    month_h, out = DAYS * 24, plan.compressed_gib * plan.mirror
    if plan.mirror:
        yield use("mirror", "internet_egress", out, "compressed files, to the SFTP server")
    if plan.static_ip:
        yield use("fixed address", "external_address", month_h, "the whole month")
        yield use("NAT gateway", "nat_gateway", month_h, "at most one instance, all the time")
        through = plan.sftp_hours * cost.WAV_BYTES_PER_H / GIB + out
        yield use("NAT data", "nat_data", through, "traffic with the SFTP server")


def _n(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
