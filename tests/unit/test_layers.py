"""`make lint` refuses a module that no layer names, and a lower layer that imports a higher one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGES = ("shared", "functions", "cli")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the code and of its contracts."""
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"], cwd=checkout, capture_output=True, text=True, check=False
    )


def test_the_code_as_it_is_passes(checkout: Path) -> None:
    done = lint_imports(checkout)

    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("package", [*PACKAGES, "shared/adapters"])
def test_a_module_in_no_layer_fails(checkout: Path, package: str) -> None:
    (checkout / package / "stray.py").write_text('"""A module that no layer names."""\n')

    done = lint_imports(checkout)

    assert done.returncode != 0
    assert f"{package.replace('/', '.')}.stray" in done.stdout


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("shared.core.naming", "shared.tracking.claim"),
        ("shared.media.probe", "shared.config.settings"),
        ("shared.tracking.tracker", "shared.adapters.memory"),
        ("shared.core.message", "functions.extract_audio.worker"),
        ("functions.extract_audio.worker", "cli.app"),
        ("functions.extract_audio.worker", "functions.sftp_compress.worker"),
        ("cli.exits", "cli.main"),
        ("shared.adapters.sftp.server", "shared.adapters.google.retry"),
        ("functions.extract_audio.worker", "shared.adapters.memory"),
    ],
)
def test_an_import_against_the_order_fails(checkout: Path, lower: str, higher: str) -> None:
    for name in (lower, higher):
        assert (ROOT / f"{name.replace('.', '/')}.py").exists(), name
    with (checkout / f"{lower.replace('.', '/')}.py").open("a") as module:
        module.write(f"\nimport {higher}\n")

    done = lint_imports(checkout)

    assert done.returncode != 0
    assert f"{lower} -> {higher}" in done.stdout
