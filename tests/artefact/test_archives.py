"""What goes into each function's archive, and into its requirements."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
import zipfile
from pathlib import Path

import grimp
import pytest

from infra.requirements import (
    COMMAND,
    FUNCTIONS,
    IMAGES,
    command_path,
    command_requirements,
    path_of,
    requirements,
)
from tests.artefact import archives
from tests.paths import ROOT


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return archives.files(tmp_path_factory.mktemp("terraform"))


def canonical(requirement: str) -> str:
    """Return a requirement's name as PEP 503 compares it."""
    name = re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_is_of_the_functions_that_have_no_image(listed: dict[str, dict[str, str]]) -> None:
    assert set(listed) == set(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_its_root_has_the_files_of_the_builder(
    function: str, listed: dict[str, dict[str, str]]
) -> None:
    contents = listed[function]

    assert contents["main.py"] == contents[f"functions/{function}/main.py"]
    assert contents["requirements.txt"].endswith(f"functions/{function}/requirements.txt")
    assert {path for path in contents if "/" not in path} == {
        "main.py", "requirements.txt", "constraints.txt"
    }  # fmt: skip
    assert all(Path(file).is_file() for file in contents.values())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_has_every_module_that_the_function_imports(
    function: str, listed: dict[str, dict[str, str]]
) -> None:
    graph = grimp.build_graph("shared", "functions", exclude_type_checking_imports=True)
    own = {f"functions.{function}", *graph.find_descendants(f"functions.{function}")}
    needed = own.union(*map(graph.find_upstream_modules, own))
    paths = {module.replace(".", "/") for module in needed}

    lacking = {
        path
        for path in paths
        if not {f"{path}.py", f"{path}/__init__.py"} & listed[function].keys()
    }
    assert lacking == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_has_only_files_of_the_repository_and_of_no_other_function(
    function: str, listed: dict[str, dict[str, str]]
) -> None:
    known = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    files = {Path(file).relative_to(ROOT).as_posix() for file in listed[function].values()}

    assert files <= set(known)
    assert {file.split("/")[1] for file in files if file.startswith("functions/")} == {
        "__init__.py", function
    }  # fmt: skip


def test_stray_files_never_get_in(tmp_path: Path) -> None:
    for path in ("constraints.txt", "functions/__init__.py"):
        make(tmp_path, path)
    for function in FUNCTIONS:
        folder = f"functions/{function}"
        for name in ("main.py", "requirements.txt", "views.json", "main.py~", ".env", "key.pem"):
            make(tmp_path, f"{folder}/{name}")
        make(tmp_path, f"{folder}/__pycache__/main.cpython-313.pyc", b"\xff\xfe\x00")
        make(tmp_path, f"{folder}/.ipynb_checkpoints/main.py")
    for path in ("shared/a.py", "shared/py.typed", "shared/x.sql", "shared/.#a.py", "shared/a.png"):
        make(tmp_path, path, b"\xff\xfe\x00")
    (tmp_path / "terraform").mkdir()

    for function, contents in archives.files(tmp_path / "terraform", tmp_path).items():
        assert set(contents) == {
            "main.py",
            "requirements.txt",
            "constraints.txt",
            "functions/__init__.py",
            f"functions/{function}/main.py",
            f"functions/{function}/views.json",
            "shared/a.py",
            "shared/py.typed",
            "shared/x.sql",
        }


def make(root: Path, path: str, content: bytes = b"") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def test_terraform_makes_the_archive_that_is_tested_here(tmp_path: Path) -> None:
    for folder in ("here", "terraform"):
        (tmp_path / folder).mkdir()
    theirs = archives.made_by_terraform(tmp_path / "terraform")
    ours = archives.made_here(tmp_path / "here")

    assert set(theirs) == set(ours)
    for name, path in theirs.items():
        assert contents_of(path) == contents_of(ours[name])
        # No mode or time of a checkout is in it: the same content is the same archive.
        with zipfile.ZipFile(path) as archive:
            assert {(one.external_attr, one.date_time) for one in archive.infolist()} == {
                (0, (1980, 0, 0, 0, 0, 0))
            }


def contents_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("function", FUNCTIONS + IMAGES)
def test_its_requirements_are_the_function_s(function: str) -> None:
    assert path_of(function).read_text() == requirements(function), "run `make requirements`"


@pytest.mark.parametrize("function", FUNCTIONS + IMAGES)
def test_its_requirements_are_those_that_the_builder_understands(function: str) -> None:
    first, *lines = path_of(function).read_text().splitlines()
    pins = [line for line in lines if re.match(r"[a-z0-9]", line)]
    hashes = [line for line in lines if line.startswith("    --hash=sha256:")]
    assert len(pins) + len(hashes) + 1 == len(lines)
    assert all(line.endswith(" \\") for line in pins)  # each has a hash
    names = {canonical(line) for line in pins}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"][function.replace("_", "-")]
    pinned = {canonical(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}

    assert first == "--constraint constraints.txt"
    assert names >= {canonical(one) for one in extra}
    assert names <= pinned
    # Else the builder adds a functions-framework of its own choice.
    assert re.search(r"(?m)^functions-framework\b([^-]|$)", "\n".join(lines))


@pytest.mark.parametrize("name", COMMAND)
def test_the_packages_of_make_are_complete_and_pinned(name: str) -> None:
    text = command_path(name).read_text()
    assert text == command_requirements(name), "run `make requirements`"
    pinned = {canonical(line) for line in (ROOT / "constraints.txt").read_text().splitlines()}
    names = {canonical(line) for line in text.splitlines() if re.match(r"[a-z0-9]", line)}
    assert names == pinned if name == "setup" else names < pinned


def test_every_pin_has_hashes() -> None:
    hashes = json.loads((ROOT / "infra" / "hashes.json").read_text())
    pins = (ROOT / "constraints.txt").read_text().split()
    assert set(hashes) == {f"{canonical(pin)}=={pin.partition('==')[2]}" for pin in pins}
    assert all(re.fullmatch("[0-9a-f]{64}", one) for found in hashes.values() for one in found)
    assert all(hashes.values())
