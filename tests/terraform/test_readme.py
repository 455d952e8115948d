"""The configuration's README is complete, and its example can be planned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.terraform_readme import README, written
from tests.emulators import find_tool
from tests.paths import ROOT, TERRAFORM
from tests.providers import check_initialised


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
    for part in ("infra", "shared", "functions"):
        ignored = shutil.ignore_patterns(".terraform*", "__pycache__", "*.tfstate*")
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignored)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    infra = tmp_path / "infra" / "terraform"
    example = re.search(r"```hcl\n(.*?)```", README.read_text(), re.DOTALL)
    assert example
    plan = (infra / "tests" / "plan.tftest.hcl").read_text()
    header = plan[: plan.index('\nrun "')]
    run = f'\nrun "example" {{\n  command = plan\n\n  variables {{\n{example[1]}  }}\n}}\n'
    shutil.rmtree(infra / "tests")
    (infra / "tests").mkdir()
    (infra / "tests" / "example.tftest.hcl").write_text(header + run)

    def terraform(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [find_tool("terraform"), *args],
            cwd=infra,
            env={**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    check_initialised(terraform("init", "-backend=false", "-input=false", "-no-color"), "google")
    done = terraform("test", "-no-color")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 0 failed" in done.stdout
