"""The alerts' rules, run by Prometheus's own tool over series of hours and days.

Rendered by Terraform without any provider, so that what runs here is what is deployed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.emulators import find_tool
from tests.paths import ROOT

INFRA = ROOT / "infra" / "terraform"

RENDERED = ("panels", "queries", "variables")

#: What the rules take from resources.
STUB = """
locals {
  log_metrics             = jsondecode(file("${path.module}/log_metrics.json"))
  monitored_subscriptions = ["recordings-push", "sftp-files-push", "dead-letters-push"]
  monitored_webhook       = "notify"
}
variable "environment" { default = "prod" }
variable "nightly_schedule" { default = "0 2 * * *" }
variable "sftp_host" { default = "sftp.example.com" }
"""

RUN = 'monitored_resource="cloud_run_revision"'
JOB = 'monitored_resource="cloud_run_job"'
LOG = "logging_googleapis_com:user_audio_"
PROCESSED = LOG + "extract_files_processed_total"
PUBLISHED = LOG + "watch_files_published_total"
RUNS = LOG + "watch_runs_total"
FAILED_RUNS = LOG + "watch_failed_runs_total"
UNACKED = "pubsub_googleapis_com:subscription_oldest_unacked_message_age"
DEAD = "pubsub_googleapis_com:subscription_dead_letter_message_count"
REQUESTS = "run_googleapis_com:request_count"
QUEUE = 'monitored_resource="pubsub_subscription",subscription_id="recordings-push"'

HOUR = 60


@dataclass
class Rules:
    """The rules in a file of Prometheus's; times are minutes since a Thursday's midnight."""

    directory: Path
    rules: Mapping[str, Any]

    def fires(self, alert: str, at: int, series: Mapping[str, str] | None = None) -> bool:
        """Return whether an alert has fired at minute ``at``: promtool reports it as unexpected."""
        rule = {"groups": [{"name": "one", "rules": [self.rules[alert]]}]}
        silent = {"eval_time": f"{at}m", "alertname": alert, "exp_alerts": []}
        test = {
            "interval": "1m",
            "input_series": [{"series": k, "values": v} for k, v in (series or {}).items()],
            "alert_rule_test": [silent],
        }
        (self.directory / "rules.json").write_text(json.dumps(rule))
        plan = {"rule_files": ["rules.json"], "evaluation_interval": "5m", "tests": [test]}
        (self.directory / "test.json").write_text(json.dumps(plan))
        done = subprocess.run(
            [find_tool("promtool"), "test", "rules", str(self.directory / "test.json")],
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout + done.stderr
        assert ("SUCCESS" in said) is not ("got:[" in said.replace("\n", "").replace(" ", "")), said
        return done.returncode != 0


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    directory = tmp_path_factory.mktemp("rules")
    for path in (INFRA / "log_metrics.json", *(INFRA / f"monitoring_{x}.tf" for x in RENDERED)):
        shutil.copy(path, directory)
    (directory / "stub.tf").write_text(STUB)
    alerts = rendered(directory, "local.alerts")
    named = {name: {"expr": one["query"], "for": one["hold"]} for name, one in alerts.items()}
    return Rules(directory, {name: {"alert": name, **one} for name, one in named.items()})


def rendered(directory: Path, expression: str) -> Any:
    """Return what Terraform makes of an expression."""
    printed = subprocess.run(
        [find_tool("terraform"), "console"],
        input=f"jsonencode({expression})\n",
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(json.loads(printed.stdout))


def ended(status: str, resource: str = RUN) -> str:
    return f'{PROCESSED}{{{resource},status="{status}"}}'


def steps(*counts: int, every: int = 1) -> str:
    """Return a counter that stays at each count for a number of minutes."""
    return " ".join(f"{count}x{every - 1}" for count in counts)


def failing(failed: int, done: int, resource: str = RUN) -> dict[str, str]:
    return {
        ended("FAILED", resource): f"0x9 {failed}x600",
        ended("DONE"): f"0x9 {done}x600",
    }


class TestFailureRate:
    def test_one_in_five_is_one_too_many(self, rules: Rules) -> None:
        assert rules.fires("failure-rate", 30, failing(2, 8))

    def test_one_in_twenty_is_not(self, rules: Rules) -> None:
        assert not rules.fires("failure-rate", 30, failing(5, 95))

    def test_a_single_one_is_not_a_rate(self, rules: Rules) -> None:
        assert not rules.fires("failure-rate", 30, failing(1, 0))

    def test_the_job_counts_too(self, rules: Rules) -> None:
        assert rules.fires("failure-rate", 30, failing(2, 8, JOB))

    def test_without_any_recording_it_is_silent(self, rules: Rules) -> None:
        assert not rules.fires("failure-rate", 30)

    def test_it_ends_by_itself(self, rules: Rules) -> None:
        assert not rules.fires("failure-rate", 30 + 6 * HOUR, failing(2, 8))


class TestNoNewFiles:
    """At 18 o'clock of a working day, looking back to 8."""

    AFTER_WORK = 18 * HOUR + 15

    def published(self, minute: int) -> dict[str, str]:
        series = f'{PUBLISHED}{{{RUN},service_name="notify"}}'
        return {series: f"0x{minute - 1} 1x{6000 - minute}"}

    def test_a_day_without_any(self, rules: Rules) -> None:
        assert rules.fires("no-new-files", self.AFTER_WORK)

    def test_a_day_with_one(self, rules: Rules) -> None:
        for minute in (8 * HOUR + 5, 12 * HOUR, 17 * HOUR + 50):
            for at in (18 * HOUR + 1, 18 * HOUR + 59):
                assert not rules.fires("no-new-files", at, self.published(minute))

    def test_one_of_the_night_before_does_not_count_for_the_day(self, rules: Rules) -> None:
        assert rules.fires("no-new-files", self.AFTER_WORK, self.published(3 * HOUR))

    def test_only_when_the_day_is_over(self, rules: Rules) -> None:
        for hour in (3, 12, 17, 19, 23):
            assert not rules.fires("no-new-files", hour * HOUR + 15)

    def test_not_at_the_weekend(self, rules: Rules) -> None:
        for days, expected in {1: True, 2: False, 3: False, 4: True}.items():
            at = self.AFTER_WORK + days * 24 * HOUR
            assert rules.fires("no-new-files", at) is expected


class TestMaintainSilent:
    def beating(self, all_: str, requeue: str) -> dict[str, str]:
        return {
            f'{RUNS}{{{RUN},task="all"}}': all_,
            f'{RUNS}{{{RUN},task="requeue"}}': requeue,
        }

    def test_both_tasks_run(self, rules: Rules) -> None:
        all_ = steps(*range(20), every=15)
        assert not rules.fires("maintain-silent", 240, self.beating(all_, "0+1x300"))

    @pytest.mark.parametrize("stopped", ["all", "requeue"])
    def test_one_of_them_does_not(self, rules: Rules, stopped: str) -> None:
        series = self.beating(steps(*range(20), every=15), "0+1x300")
        series[f'{RUNS}{{{RUN},task="{stopped}"}}'] = "5x300"
        assert rules.fires("maintain-silent", 240, series)

    def test_none_has_ever(self, rules: Rules) -> None:
        assert not rules.fires("maintain-silent", 20)
        assert rules.fires("maintain-silent", 45)


class TestMaintainFailing:
    def failed(self, task: str, values: str) -> dict[str, str]:
        return {f'{FAILED_RUNS}{{{RUN},task="{task}"}}': values}

    def test_once_is_not_reported(self, rules: Rules) -> None:
        assert not rules.fires("maintain-failing", 60, self.failed("all", "0x19 1x100"))
        assert not rules.fires("maintain-failing", 60, self.failed("requeue", "0x19 5x100"))

    def test_run_after_run_is(self, rules: Rules) -> None:
        assert rules.fires("maintain-failing", 60, self.failed("all", steps(0, 1, 2, 3, every=15)))
        assert rules.fires("maintain-failing", 60, self.failed("requeue", "0+1x60"))


class TestChannelExpiry:
    SERIES = LOG + f"watch_channel_near_expiry_total{{{RUN}}}"

    def test_one_run_may_fail_to_renew(self, rules: Rules) -> None:
        assert not rules.fires("channel-expiry", 40, {self.SERIES: "0x19 1x100"})

    def test_two_may_not(self, rules: Rules) -> None:
        assert rules.fires("channel-expiry", 40, {self.SERIES: "0x9 1x14 2x100"})


class TestNightly:
    FAILED = LOG + f'nightly_failures_total{{{RUN},code="empty_directory"}}'
    GOOD = LOG + f"nightly_runs_total{{{RUN}}}"

    def test_an_empty_night_is_reported_at_once(self, rules: Rules) -> None:
        assert rules.fires("nightly-failed", 30, {self.FAILED: "0x19 1x100"})
        assert not rules.fires("nightly-failed", 30, {self.GOOD: "0x19 1x100"})

    def test_a_run_a_day_is_enough(self, rules: Rules) -> None:
        nights = f"0x119 1x{24 * HOUR + 20} 2x{48 * HOUR}"  # the second is 20 minutes longer
        for hour in (27, 28, 50):
            assert not rules.fires("nightly-missed", hour * HOUR, {self.GOOD: nights})

    def test_a_night_without_one(self, rules: Rules) -> None:
        assert rules.fires("nightly-missed", 29 * HOUR, {self.GOOD: f"0x119 1x{48 * HOUR}"})


class TestQueues:
    def test_a_dead_letter(self, rules: Rules) -> None:
        assert rules.fires("dead-letters", 30, {f"{DEAD}{{{QUEUE}}}": "0x19 1x100"})
        assert not rules.fires("dead-letters", 30, {f"{DEAD}{{{QUEUE}}}": "3x100"})

    def test_a_message_that_waits(self, rules: Rules) -> None:
        age = f"{UNACKED}{{{QUEUE}}}"
        assert rules.fires("oldest-unacked", 80, {age: "0+60x100"})
        assert not rules.fires("oldest-unacked", 65, {age: "0+60x100"})
        assert not rules.fires("oldest-unacked", 80, {age: "1800x100"})

    def test_other_subscriptions_are_ignored(self, rules: Rules) -> None:
        other = QUEUE.replace("recordings-push", "theirs")
        assert not rules.fires("oldest-unacked", 80, {f"{UNACKED}{{{other}}}": "9999x100"})


class TestWebhook:
    def answers(self, service: str, status: str) -> dict[str, str]:
        labels = f'service_name="{service}",response_code_class="{status}"'
        return {f"{REQUESTS}{{{RUN},{labels}}}": "0x9 10x100"}

    def test_server_errors(self, rules: Rules) -> None:
        assert rules.fires("webhook-5xx", 15, self.answers("notify", "5xx"))
        assert not rules.fires("webhook-5xx", 15, self.answers("notify", "4xx"))
        assert not rules.fires("webhook-5xx", 15, self.answers("compress", "5xx"))
        assert not rules.fires("webhook-5xx", 60, self.answers("notify", "5xx"))


def test_every_alert_is_tried(rules: Rules) -> None:
    tried = Path(__file__).read_text()
    assert [name for name in rules.rules if f'"{name}"' not in tried] == []


def test_the_dashboard_s_queries_are_promql_over_existing_metrics(rules: Rules) -> None:
    rows = rendered(rules.directory, "local.dashboard_rows")
    asked = [q for row in rows for panel in row["panels"] for q in panel.get("lines", {}).values()]
    recorded = [{"record": f"query{number}", "expr": one} for number, one in enumerate(asked)]
    path = rules.directory / "panels.json"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    done = subprocess.run(
        [find_tool("promtool"), "check", "rules", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{len(asked)} rules found" in done.stdout, done.stderr
    made = json.loads((INFRA / "log_metrics.json").read_text())
    used = {name for one in asked for name in re.findall(r":user_(\w+)", one)}
    parts = {re.sub(r"_(sum|count|bucket)$", "", name) for name in used}
    assert parts - made.keys() == set()


def test_every_alert_has_its_section_in_the_runbook(rules: Rules) -> None:
    sections = re.findall(
        r"^#+ (alert-.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    assert sections == [f"alert-{name}" for name in sorted(rules.rules)]
