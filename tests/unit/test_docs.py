"""The documents match the code."""

import dataclasses
import re

from cli.main import COMMANDS
from shared.config.settings import Settings
from tests.paths import ROOT


def test_every_setting_is_explained() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| .* \| (.*) \|$", text, re.MULTILINE)

    allowed = {
        field.name.upper(): field.metadata["allowed"] for field in dataclasses.fields(Settings)
    }
    assert dict(rows) == allowed


#: Defaults that are words for nothing, or that the machine decides.
WORDS = {"all", "everything", "own credentials", "Google's", "processors", "the machine's"}


def test_every_default_is_the_one_of_the_code() -> None:
    text = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", text, re.MULTILINE)
    said = {name: default for name, default in rows if default not in WORDS}

    defaults, read = Settings(), Settings.from_environment(said)

    for name in said:
        assert getattr(read, name.lower()) == getattr(defaults, name.lower()), name


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)[ `]", (ROOT / "README.md").read_text(), re.MULTILINE)

    assert set(rows) == set(COMMANDS)


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)

    assert targets
    for target in targets[1].split():
        assert re.search(rf"^{target}:.*## \w", text, re.MULTILINE), target


def test_every_alert_has_its_section_in_the_runbook() -> None:
    queries = (ROOT / "infra/terraform/monitoring_queries.tf").read_text()
    alerts = re.search(r"^  all_alerts = \{\n(.*?)^  \}", queries, re.MULTILINE | re.DOTALL)
    sections = re.findall(
        r"^### alert-([a-z0-9-]+)$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE
    )

    assert alerts
    assert sections == sorted(re.findall(r"^    ([a-z0-9-]+) = \{$", alerts[1], re.MULTILINE))


def test_the_runbook_names_only_outputs_and_variables_that_there_are() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    terraform = "".join(path.read_text() for path in (ROOT / "infra/terraform").rglob("*.tf"))
    known = set(re.findall(r'^(?:variable|output) "(\w+)"', terraform, re.MULTILINE))
    codes = {"known_hosts", "private_key", "host_key", "missing_directory", "empty_directory"}
    codes |= {"verify_failed", "gave_up", "dead_letter", "listing_limit"}
    codes |= {"extract_audio", "invoker_iam_disabled"}  # a function, and a field of Cloud Run

    assert set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", text)) <= known | codes


def test_every_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in (ROOT / "docs" / "adr").glob("*.md")]

    assert len(numbers) >= 10
    assert sorted(numbers) == sorted(set(numbers))
