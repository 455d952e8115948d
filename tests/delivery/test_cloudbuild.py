"""``cloudbuild.yaml`` and the image's build, checked against Cloud Build's own schema."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.emulators import missing
from tests.paths import ROOT

FILES = ("cloudbuild.yaml", "infra/deploy/image.yaml")

#: "Build configuration file schema" of Cloud Build's documentation, without what is deprecated.
BUILD = {
    "artifacts": dict,
    "availableSecrets": dict,
    "images": list,
    "logsBucket": str,
    "options": dict,
    "queueTtl": str,
    "serviceAccount": str,
    "steps": list,
    "substitutions": dict,
    "tags": list,
    "timeout": str,
}
STEP = {
    "allowExitCodes": list,
    "allowFailure": bool,
    "args": list,
    "automapSubstitutions": bool,
    "dir": str,
    "entrypoint": str,
    "env": list,
    "id": str,
    "name": str,
    "script": str,
    "secretEnv": list,
    "timeout": str,
    "volumes": list,
    "waitFor": list,
}
OPTIONS = {
    "automapSubstitutions": bool,
    "defaultLogsBucketBehavior": str,
    "diskSizeGb": str,
    "dynamicSubstitutions": bool,
    "env": list,
    "logStreamingOption": str,
    "logging": str,
    "machineType": str,
    "pool": dict,
    "pubsubTopic": str,
    "requestedVerifyOption": str,
    "secretEnv": list,
    "sourceProvenanceHash": list,
    "substitutionOption": str,
    "volumes": list,
}
#: "Substituting variable values", those that every build has.
BUILT_IN = {"BUILD_ID", "LOCATION", "PROJECT_ID", "PROJECT_NUMBER"}


def load(name: str) -> dict[str, Any]:
    build: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return build


def conforms(given: dict[str, Any], known: Mapping[str, type]) -> None:
    assert given.keys() <= known.keys(), given.keys() - known.keys()
    for name, value in given.items():
        assert type(value) is known[name], name


@pytest.mark.parametrize("name", FILES)
def test_only_fields_that_cloud_build_knows_and_of_their_types(name: str) -> None:
    build = load(name)

    conforms(build, BUILD)
    conforms(build["options"], OPTIONS)
    for step in build["steps"]:
        conforms(step, STEP)
        assert all(type(word) is str for word in step.get("args", []) + step.get("env", []))
    assert all(type(value) is str for value in build.get("substitutions", {}).values())


@pytest.mark.parametrize("name", FILES)
def test_aliases_are_not_relied_on(name: str) -> None:
    assert not re.search(r":\s[&*]\w", (ROOT / name).read_text())


@pytest.mark.parametrize("name", FILES)
def test_images_are_pinned_by_a_version(name: str) -> None:
    for step in load(name)["steps"]:
        assert re.search(r":\d+\.\d+[\w.-]*(@sha256:[0-9a-f]{64})?$", step["name"]), step["name"]


def test_every_substitution_is_defined_and_used() -> None:
    text = (ROOT / "cloudbuild.yaml").read_text()
    used = set(re.findall(r"\$\{?(_?[A-Z][A-Z0-9_]*)", re.sub(r"(?m)^ *#.*$", "", text)))
    own = set(load("cloudbuild.yaml")["substitutions"])

    assert {name for name in used if name.startswith("_")} == own
    assert used - own <= BUILT_IN


def test_the_images_get_their_substitutions_from_their_script() -> None:
    used = set(re.findall(r"\$(_[A-Z]+)", (ROOT / "infra/deploy/image.yaml").read_text()))
    script = (ROOT / "infra/deploy/build.sh").read_text()
    (given,) = re.findall(r'--substitutions="(.*)"', script)

    assert used == set(re.findall(r"(?:^|,)(_[A-Z]+)=", given))


def test_it_runs_as_the_deployer_and_logs_where_such_an_account_must() -> None:
    build = load("cloudbuild.yaml")

    account = re.fullmatch(
        r"projects/\$PROJECT_ID/serviceAccounts/([\w-]+)@\$PROJECT_ID\.iam\.gserviceaccount\.com",
        build["serviceAccount"],
    )
    assert account
    deployer = (ROOT / "infra/terraform/identity/deployer.tf").read_text()
    assert f'account_id   = "{account[1]}"' in deployer
    assert build["options"]["logging"] == "CLOUD_LOGGING_ONLY"
    assert load("infra/deploy/image.yaml")["options"]["logging"] == "CLOUD_LOGGING_ONLY"


def seconds(duration: str) -> int:
    found = re.fullmatch(r"(\d+)s", duration)
    assert found, duration
    return int(found[1])


def test_long_steps_have_limits_within_the_limit_of_the_build() -> None:
    build = load("cloudbuild.yaml")
    limits = {step["id"]: seconds(step["timeout"]) for step in build["steps"] if "timeout" in step}

    assert set(limits) == {step["id"] for step in build["steps"]} - {"terraform", "emulator"}
    assert limits["apply"] + limits["smoke"] + limits["test"] < seconds(build["timeout"]) <= 86400


def called(step: dict[str, Any]) -> list[str]:
    """Return the scripts of ours that a step names."""
    words = [step.get("entrypoint", ""), *step.get("args", [])]
    return [word for word in words if word.startswith("infra/")]


def test_every_script_is_there_and_can_be_run() -> None:
    scripts = [name for step in load("cloudbuild.yaml")["steps"] for name in called(step)]

    assert len(scripts) == 13
    for name in scripts:
        assert os.access(ROOT / name, os.X_OK), name


def test_steps_run_in_order_and_never_beside_one_they_need() -> None:
    steps = load("cloudbuild.yaml")["steps"]
    ids = [step["id"] for step in steps]
    wanted = [
        "lint",
        "test",
        "bootstrap",
        "init",
        "first",
        "build",
        "scan",
        "plan",
        "apply",
        "smoke",
    ]

    assert [name for name in ids if name in wanted] == wanted
    # A step without waitFor waits for all before it.
    assert [step["id"] for step in steps if "waitFor" in step] == ["emulator"]


def test_it_takes_the_steps_of_make_deploy_with_their_arguments() -> None:
    text = (ROOT / "infra/deploy/deploy.sh").read_text()
    by_hand = re.findall(r"^step (\w+) ?(.*)$", text, re.MULTILINE)
    steps = load("cloudbuild.yaml")["steps"]
    here = [
        (step["id"], " ".join(step.get("args", [])))
        for step in steps
        if step["id"] in {name for name, _ in by_hand}
    ]

    # Only the tools and the login of a laptop are not asked for there.
    assert by_hand[0] == ("check", "")
    assert here == by_hand[1:]
    for step in steps:
        assert step["id"] not in dict(here) or called(step) == [f"infra/deploy/{step['id']}.sh"]


def test_the_build_makes_the_images_that_the_scripts_name() -> None:
    build = load("infra/deploy/image.yaml")
    tags = [step["args"][step["args"].index("--tag") + 1] for step in build["steps"]]

    for step in build["steps"]:
        assert (ROOT / step["args"][step["args"].index("--file") + 1]).exists()
        assert "env" not in step  # DOCKER_BUILDKIT=1 needs buildx, which the builder lacks
    assert build["images"] == tags
    assert [tag.rpartition("/")[2] for tag in tags] == ["extract-audio:$_TAG", "web:$_TAG"]


def uploaded(directory: Path) -> set[str]:
    """Return what gcloud would upload of a directory with our .gcloudignore."""
    gcloud = shutil.which("gcloud") or missing("gcloud")
    done = subprocess.run(
        [gcloud, "meta", "list-files-for-upload", str(directory)],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n"))


@pytest.mark.slow
def test_the_upload_has_the_files_of_the_images_and_no_secrets(tmp_path: Path) -> None:
    for name in (".gcloudignore", ".gitignore"):
        shutil.copy(ROOT / name, tmp_path)
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"]
    files = [name for name in let_in if (ROOT / name).is_file()]
    needed = [*files, *(f"{name}/main.py" for name in let_in if name not in files), "Makefile"]
    stray = [
        "credentials.json",
        "notes.txt",
        "recordings/meeting.mp4",
        "functions/credentials.json",
        "infra/terraform/environments/prod.local.tfvars",
        "infra/terraform/terraform.tfstate",
        "shared/key.pem",
        ".env",
    ]
    for name in [*needed, *stray]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = uploaded(tmp_path)

    assert set(needed) <= found
    assert found.isdisjoint(stray)


def test_the_upload_has_every_top_level_name_that_is_in_version_control() -> None:
    listed = (ROOT / ".gcloudignore").read_text().split()
    allowed = {line.removeprefix("!/").rstrip("/") for line in listed if line.startswith("!/")}
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert allowed >= {name.split("/")[0] for name in done.stdout.split("\n") if name}
