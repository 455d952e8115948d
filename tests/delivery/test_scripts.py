"""The scripts as text and by the real tools: shellcheck, gcloud's parser, the services."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.delivery import gcloud_lint
from tests.delivery.rig import Rig, run
from tests.emulators import free_port, missing, running
from tests.paths import ROOT

SCRIPTS = sorted((ROOT / "infra" / "deploy").glob("*.sh"))


def test_shellcheck_finds_nothing() -> None:
    shellcheck = shutil.which("shellcheck") or missing("shellcheck")
    command = [shellcheck, "--external-sources", f"--source-path={ROOT}/infra/deploy"]

    done = run([*command, *map(str, SCRIPTS)], {"PATH": "/usr/bin:/bin"})

    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_only_sourced_scripts_are_not_executable(script: Path) -> None:
    first = script.read_text().splitlines()[0]

    assert bool(script.stat().st_mode & 0o111) is first.startswith("#!") is (script.stem != "lib")


@pytest.mark.slow
def test_gcloud_accepts_every_command_of_the_scripts(rig: Rig, tmp_path: Path) -> None:
    variables = rig.terraform_dir / "environments" / "dev.tfvars"
    variables.write_text('kms_key_name = "projects/p/locations/l/keyRings/r/cryptoKeys/k"\n')
    assert rig.run("deploy").returncode == 0
    rig.change(account="ci@p.iam.gserviceaccount.com")
    rig.run("smoke")
    rig.run("smoke", SMOKE_ACCOUNT="audio-deployer@p.iam.gserviceaccount.com")
    commands = {written(argv) for argv in rig.argvs() if argv[0] == "gcloud"}

    assert len(commands) > 20
    assert gcloud_lint.refused(commands, tmp_path) == []


def test_a_command_that_gcloud_does_not_know_is_refused(tmp_path: Path) -> None:
    wrong = "gcloud run services forget --project=p"
    known = "gcloud pubsub topics list --project=p"

    assert len(gcloud_lint.refused([wrong, known], tmp_path)) == 1


def written(argv: list[str]) -> str:
    """Return the command as one writes it: its parser stumbles over a flag in quotes."""
    words = [re.match(r"(--[\w-]+=)?(.*)", word, re.DOTALL) for word in argv]
    return " ".join(f"{word[1] or ''}{shlex.quote(word[2])}" for word in words if word)


def test_each_kind_of_login_asks_for_its_identity_token_as_it_must(deployed: Rig) -> None:
    ask = "gcloud auth print-identity-token"
    by_login = {
        "me@example.com": ask,
        "ci@p.iam.gserviceaccount.com": f"{ask} --audiences={deployed.service}",
    }
    for account, command in by_login.items():
        deployed.change(account=account)
        deployed.forget_calls()
        assert deployed.run("smoke").returncode == 0
        assert [call for call in deployed.calls() if "identity-token" in call] == [command]


def test_the_services_themselves_pass_the_smoke_test(rig: Rig, tmp_path: Path) -> None:
    """The real services, where the other tests use stand-ins."""
    settings = {
        "STORAGE_URL": str(tmp_path / "audio"),
        "TRACKER_URL": f"sqlite:///{tmp_path}/tracker.db",
    }
    with (
        served(tmp_path, "extract_audio", "extract_audio", settings) as extract,
        served(tmp_path, "drive_watch", "notify", settings) as notify,
    ):
        addresses = {"extract-audio": f"http://{extract}", "notify": f"http://{notify}"}
        rig.change(addresses=addresses)
        done = rig.run("smoke", SMOKE_SECONDS="60")

    assert done.returncode == 0, done.stdout + done.stderr


def served(
    folder: Path, function: str, target: str, settings: dict[str, str]
) -> AbstractContextManager[str]:
    port = free_port()
    variables = [f"{name}={value}" for name, value in settings.items()]
    command = ["env", *variables, str(Path(sys.executable).with_name("functions-framework"))]
    command += [f"--source={ROOT}/functions/{function}/main.py", f"--target={target}"]
    return running([*command, f"--port={port}", "--host=127.0.0.1"], port, folder / f"{target}.log")
