"""The configuration is well formed, and its plans contain what matters (infra/terraform/tests)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.config.settings import Settings
from tests.paths import ROOT
from tests.providers import check_initialised
from tests.terraform.checkout import check_out, terraform

INFRA = ROOT / "infra" / "terraform"

#: Variables that no deployment sets, and why.
NOT_DEPLOYED = {
    "DASHBOARD_HOSTS",  # IAP is in front of it there
    "DRIVE_API_ENDPOINT",  # for tests
    "LOG_FORMAT",  # json on Cloud Run by itself
    "RESULTS_SECRET",  # results go to a topic there, which Google authenticates
    # `serve` uses these on one machine; Cloud Scheduler has its own schedules.
    "SCHEDULE",
    "SWEEP_MINUTES",
    "TIME_ZONE",
}
#: Set elsewhere than in settings.tf.
SET_BESIDE = {
    "CHANNEL_KEY",
    "EXTRACT_JOB",
    "IAP_AUDIENCE",
    "PUSH_ACCOUNT",
    "PUSH_AUDIENCE",
    "SFTP_CREDENTIALS",
    "WEBHOOK_URL",
}


pytestmark = pytest.mark.slow(45)


@pytest.fixture(scope="module")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what Terraform reads, with its providers."""
    infra = check_out(tmp_path_factory.mktemp("terraform"))
    done = terraform("init", "-backend=false", "-input=false", "-no-color", cwd=infra)
    check_initialised(done, "google")
    return infra


def test_it_is_formatted() -> None:
    done = terraform("fmt", "-check", "-recursive", "-no-color", cwd=INFRA)

    assert done.returncode == 0, f"terraform fmt would change:\n{done.stdout}"


def test_it_is_valid(initialised: Path) -> None:
    done = terraform("validate", "-no-color", cwd=initialised)

    assert done.returncode == 0, done.stderr


def test_the_assertions_on_its_plans_pass(initialised: Path) -> None:
    done = terraform("test", "-no-color", cwd=initialised)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 failed" in done.stdout


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_each_environment_names_itself(environment: str) -> None:
    text = (INFRA / "environments" / f"{environment}.tfvars").read_text()

    assert re.search(rf'^environment\s*= "{environment}"$', text, re.MULTILINE)


def test_every_deployed_variable_is_a_setting() -> None:
    text = "".join(path.read_text() for path in INFRA.glob("*.tf"))
    maps = "".join(re.findall(r"^  env_\w+\s*= \{\n(.*?)^  \}", text, re.MULTILINE | re.DOTALL))
    deployed = set(re.findall(r"^    ([A-Z][A-Z_]+)\s*=", maps, re.MULTILINE))
    deployed |= {name for name in SET_BESIDE if re.search(rf'\b{name}\s*=|"{name}"', text)}

    assert deployed == set(Settings.variables()) - NOT_DEPLOYED


def test_every_variable_is_described_and_in_order() -> None:
    for path in INFRA.glob("*.tf"):
        text = path.read_text()
        names = re.findall(r'^variable "(\w+)"', text, re.MULTILINE)
        blocks = re.findall(r'^variable "\w+" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
        assert names == sorted(names), path.name
        assert all("description = " in block and "type " in block for block in blocks), path.name


def test_no_role_is_primitive_and_no_secret_is_written_down() -> None:
    text = "".join(path.read_text() for path in INFRA.glob("*.tf"))

    assert not re.findall(r'"roles/(owner|editor|viewer)"', text)
    assert not re.findall(r"\bsecret_data\s*=", text)
    # Domain restricted sharing refuses a grant to everybody.
    assert "allUsers" not in re.sub(r"(?m)#.*$", "", text).replace('["allUsers"]', "")
