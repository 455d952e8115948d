"""The configuration's README is complete, and its example can be planned."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from infra.terraform_readme import README, written
from tests.paths import TERRAFORM
from tests.providers import check_initialised
from tests.terraform.checkout import check_out, terraform


def test_its_tables_are_those_of_the_configuration() -> None:
    assert README.read_text() == written(), "run: python infra/terraform_readme.py"


def test_it_names_every_file() -> None:
    text = README.read_text()
    names = [path.name for path in TERRAFORM.glob("*.tf")]
    general = {"outputs.tf", "providers.tf", "settings.tf", "variables.tf", "versions.tf"}

    for name in sorted({*names} - general):
        family = re.sub(r"^monitoring_\w+\.tf$", "monitoring_*.tf", name)
        assert f"`{family}`" in text, name


@pytest.mark.slow
def test_its_example_can_be_planned(tmp_path: Path) -> None:
    infra = check_out(tmp_path)
    example = re.search(r"```hcl\n(.*?)```", README.read_text(), re.DOTALL)
    assert example
    plan = (infra / "tests" / "plan.tftest.hcl").read_text()
    header = plan[: plan.index('\nrun "')]
    run = f'\nrun "example" {{\n  command = plan\n\n  variables {{\n{example[1]}  }}\n}}\n'
    shutil.rmtree(infra / "tests")
    (infra / "tests").mkdir()
    (infra / "tests" / "example.tftest.hcl").write_text(header + run)

    done = terraform("init", "-backend=false", "-input=false", "-no-color", cwd=infra)
    check_initialised(done, "google")
    done = terraform("test", "-no-color", cwd=infra)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 0 failed" in done.stdout
