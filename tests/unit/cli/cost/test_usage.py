"""The numbers that the estimate copies from elsewhere match their origin."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.cost import plan
from cli.cost.plan import Plan
from cli.cost.usage import uses
from shared.adapters.memory import MemoryDocuments, MemoryStorage
from shared.config.settings import Settings
from shared.media.presets import PRESETS
from shared.tracking import requeue
from shared.tracking.lease import Outcome
from tests.media import clips
from tests.media.rig import Rig
from tests.paths import TERRAFORM
from tests.recordings import source_file


def all_terraform() -> str:
    return "\n".join(path.read_text() for path in sorted(TERRAFORM.glob("*.tf")))


def block(file: str, kind: str, name: str) -> str:
    """Return a block of Terraform's; of any file where none is named."""
    text = (TERRAFORM / file).read_text() if file else all_terraform()
    found = re.search(rf'^{kind} "{name}" \{{$(.+?)^\}}$', text, re.MULTILINE | re.DOTALL)
    assert found, f"{file}: {kind} {name}"
    return found[1]


def gib(text: str) -> float:
    return float(text.removesuffix("Mi")) / 1024 if "Mi" in text else float(text.removesuffix("Gi"))


@pytest.mark.parametrize(
    ("function", "size"),
    [
        ("maintain", plan.FUNCTION),
        ("nightly", plan.FUNCTION),
        ("compress", plan.COMPRESS),
    ],
)
def test_functions_are_as_large_as_terraform_makes_them(
    function: str, size: tuple[int, float]
) -> None:
    made = block("functions.tf", 'resource "google_cloudfunctions2_function"', function)
    cpu = re.search(r'available_cpu += "(\d+)"', made)
    memory = re.search(r'available_memory += "(\w+)"', made)

    assert cpu
    assert memory
    assert (int(cpu[1]), gib(memory[1])) == size


def test_the_webhook_is_as_large_as_terraform_makes_it() -> None:
    made = block("notify.tf", 'resource "google_cloud_run_v2_service"', "notify")
    cpu = re.search(r'cpu += "(\d+)"', made)
    memory = re.search(r'memory += "(\w+)"', made)

    assert cpu
    assert memory
    assert (int(cpu[1]), gib(memory[1])) == plan.FUNCTION


@pytest.mark.parametrize("kind", ["service", "job"])
def test_extraction_is_as_large_as_terraform_makes_it(kind: str) -> None:
    made = block("extract_audio.tf", f'resource "google_cloud_run_v2_{kind}"', "extract_audio")
    cpu = re.search(r'cpu += "(\d+)"', made)
    memory = re.search(r'default += "(\w+)"', block("", "variable", "extract_memory"))

    assert cpu
    assert memory
    assert "memory = var.extract_memory" in made
    assert (int(cpu[1]), gib(memory[1])) == plan.EXTRACT


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("nearline_after_days", plan.NEARLINE_AFTER_DAYS),
        ("coldline_after_days", plan.COLDLINE_AFTER_DAYS),
        ("log_retention_days", plan.LOG_DAYS),
        ("push_limit_seconds", plan.PUSH_LIMIT_S),
    ],
)
def test_ages_and_limits_are_terraforms_defaults(variable: str, value: int) -> None:
    default = re.search(r"default += (\d+)", block("", "variable", variable))

    assert default
    assert int(default[1]) == value


def test_schedules_are_those_of_terraform() -> None:
    text = (TERRAFORM / "scheduler.tf").read_text()
    crons = dict(re.findall(r"^    (\w+) = \{\n.+?\n +schedule += (.+)$", text, re.MULTILINE))

    assert len(crons) == plan.SCHEDULES
    assert crons["requeue"] == '"* * * * *"'
    assert crons["maintain"] == '"*/15 * * * *"'
    assert plan.CALLS_A_DAY == {"requeue": 24 * 60, "maintain": 24 * 4, "nightly": 1}


def test_the_requeue_asks_as_many_queries() -> None:
    assert len(list(requeue._due(datetime.now(UTC)))) == plan.REQUEUE_QUERIES


def test_a_heartbeat_comes_each_third_of_the_lease() -> None:
    assert Settings().lease_seconds / 3 == plan.HEARTBEAT_S


def test_every_preset_has_its_seconds_and_bit_rate() -> None:
    assert plan.BITS_PER_S.keys() == plan.ENCODE_S.keys() == PRESETS.keys()
    assert plan.BITS_PER_S["mp3"] == Settings().audio_bitrate
    assert Settings().bitrate == plan.COMPRESSED_BITS_PER_S


def test_a_message_is_counted_as_pub_sub_does() -> None:
    item = source_file()
    attributes = sum(len(name) + len(value) for name, value in item.attributes().items())

    # No request is counted as less than 1,000 bytes, and a message is no larger.
    assert len(item.encode()) + attributes + 100 <= plan.MESSAGE_BYTES


def counted(monkeypatch: pytest.MonkeyPatch, owner: type, *names: str) -> Counter[str]:
    """Count the calls of an adapter's methods."""
    calls: Counter[str] = Counter()

    def wrap(name: str) -> Callable[..., Any]:
        original = getattr(owner, name)

        def counting(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return original(*args, **kwargs)

        return counting

    for name in names:
        monkeypatch.setattr(owner, name, wrap(name))
    return calls


def test_a_recording_costs_as_many_reads_writes_and_operations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.mp4"
    clips.make("last.mp4", path)
    documents = counted(monkeypatch, MemoryDocuments, "get", "find", "create", "replace")
    storage = counted(monkeypatch, MemoryStorage, "put", "list", "stat", "open", "delete")

    # On a busy machine it may take longer than the first heartbeat of a usual lease.
    extracted = Rig(tmp_path, lease=timedelta(hours=1)).extract(path)

    assert extracted.result.outcome is Outcome.DONE
    # The publisher asks first whether it is known. Here it makes the document, else the
    # worker's claim does; then the claim is a write more.
    assert documents["get"] + documents["find"] + 1 == plan.READS_EACH
    assert documents["create"] + documents["replace"] + 1 == plan.WRITES_EACH
    assert storage["put"] + storage["list"] == plan.CLASS_A_EACH
    assert storage["stat"] + storage["open"] == plan.CLASS_B_EACH
    assert storage["delete"] == 0


def quantity(month: Plan, section: str, name: str, number: int = 1) -> float:
    return sum(
        use.quantity for use in uses(month, number) if (use.section, use.name) == (section, name)
    )


def test_a_fast_preset_waits_for_the_download() -> None:
    assert Plan(hours=1, preset="copy").work_s == Plan(hours=1, preset="mp3").work_s


def test_a_small_recording_waits_for_the_encoder() -> None:
    small = Plan(hours=1, meeting_minutes=60, gb_per_hour=0.1)

    assert small.work_s == plan.START_S + plan.READING_FACTOR * plan.ENCODE_S["mp3"]


def test_work_that_outlasts_a_push_is_repeated_by_the_job() -> None:
    long = Plan(hours=20, meeting_minutes=20 * 60)

    assert long.work_s > plan.PUSH_LIMIT_S
    assert (
        quantity(long, "Cloud Run, processor", "extract-audio")
        == plan.EXTRACT[0] * plan.PUSH_LIMIT_S
    )
    assert quantity(long, "Cloud Run, processor", "job") == plan.EXTRACT[0] * long.work_s
    assert not quantity(Plan(hours=20), "Cloud Run, processor", "job")


def test_audio_grows_older_and_none_is_lost() -> None:
    month = Plan(hours=100, sftp_hours=30)
    made = month.audio_gib + month.compressed_gib
    classes = ("standard", "nearline", "coldline")

    for number in (1, 2, 3, 4, 12, 100):
        kept = [quantity(month, "Cloud Storage", f"audio, {name}", number) for name in classes]
        assert sum(kept) == pytest.approx(made * (number - 0.5))
    # In the long run a storage class has the objects of its range of ages.
    assert kept[0] == pytest.approx(made * 30 / plan.DAYS)
    assert kept[1] == pytest.approx(made * 60 / plan.DAYS)


def test_the_mirror_and_the_address_cost_only_where_they_are_on() -> None:
    plain = {use.section for use in uses(Plan(hours=1, sftp_hours=1), 1)}
    both = {use.name for use in uses(Plan(hours=1, sftp_hours=1, mirror=True, static_ip=True), 1)}

    assert "Network" not in plain
    assert {"mirror", "fixed address", "NAT gateway", "NAT data"} <= both
