"""Every command in README and the guides is run, each against what its row names.

What cannot be run on this machine has a reason, and its flags are checked where the tool is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from shared.config.settings import Settings
from tests.delivery import gcloud_lint
from tests.delivery.rig import Deployed, Rig, copy, serving
from tests.documented import documented_commands
from tests.drive.rig import rig_here
from tests.emulators import fake_gcs_server, missing
from tests.local_queue import local_topic
from tests.paths import ROOT
from tests.services import BIN

pytestmark = pytest.mark.slow(40)


@dataclass
class Laptop:
    """A checkout in a folder of its own, with what the page expects the reader to have."""

    folder: Path

    def __post_init__(self) -> None:
        self.checkout = self.folder / "checkout"
        self.bin = self.folder / "bin"
        self.bin.mkdir(parents=True)
        for name in ("Makefile", "README.md", "constraints.txt", "functions", "infra"):
            copy(ROOT / name, self.checkout / name)
        for name in ("cli", "shared", "pyproject.toml", ".pre-commit-config.yaml", "tests"):
            (self.checkout / name).symlink_to(ROOT / name)
        (self.checkout / ".venv").symlink_to(BIN.parent)
        # What make setup installs is there already; this machine is root, and has no systemd.
        self.program("make", 'exec /usr/bin/make -o .venv/.set-up -o .venv/.set-up-to-run "$@"')
        self.program("sudo", 'exec "$@"')
        self.program("systemctl", f'exec /usr/bin/systemctl --root={self.folder}/root "$@"')
        self.env = {
            "PATH": f"{self.bin}:{BIN}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "STORAGE_URL": str(self.checkout / "audio"),
            "TRACKER_URL": f"sqlite:///{self.checkout}/audio/tracker.db",
        }

    @cached_property
    def refused_by_gcloud(self) -> list[str]:
        """What gcloud's parser refuses of all documented commands, in one run of it."""
        calls = (call for one in COMMANDS if "gcloud " in one for call in gcloud_calls(one))
        return gcloud_lint.refused(calls, self.folder)

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, command: str, expected: tuple[int, ...] = (0,), **env: str) -> str:
        """Run a command in the checkout, and return its standard output."""
        ended = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.checkout,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode in expected, f"{command}:\n{ended.stdout}{ended.stderr}"
        assert "Traceback" not in ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Laptop:
    made = Laptop(tmp_path_factory.mktemp("laptop"))
    shutil.copy(clip, made.checkout / "meeting.mp4")
    (made.checkout / "broken.mp4").write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    made.run("audio-pipeline extract broken.mp4", expected=(1,))
    return made


#: How a command is run.
Way = Callable[[Laptop, str], object]


def here(laptop: Laptop, command: str) -> None:
    """Run it as it stands."""
    laptop.run(command)


def on_recordings(laptop: Laptop, command: str) -> None:
    """Run it over a tracker with a recording that failed; its retry fails again."""
    (failed,) = json.loads(laptop.run("audio-pipeline status --failed --json"))
    command = command.replace("FILE…", "meeting.mp4").replace("KEY", failed["key"])
    retries = " retry " in command
    text = laptop.run(command, expected=(1,) if retries else (0,))
    if not retries:
        assert text


def on_drive(laptop: Laptop, command: str) -> None:
    """Run it over the stand-in of Drive and the local queue."""
    with (
        pytest.MonkeyPatch.context() as patch,
        rig_here(laptop.folder, patch) as rig,
        local_topic() as topic,
    ):
        rig.video("a.mp4", created="2025-02-01T10:00:00Z")
        names = ("GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY", "NO_PROXY")
        env = {**rig.environ, **{name: os.environ[name] for name in names}}
        # doctor reports what this machine lacks, and still ends well or with 1.
        expected = (0, 1) if " doctor" in command else (0,)
        text = laptop.run(command, expected, RECORDINGS_QUEUE_URL=topic.url, **env)
        assert "a.mp4" in text or " doctor" in command


def writes_requirements(laptop: Laptop, command: str) -> None:
    """Write what is committed, with the hashes of a package and a tool looked up again."""
    hashes = laptop.checkout / "infra" / "hashes.json"
    tool = laptop.checkout / "infra" / "requirements" / "audit.txt"
    known = json.loads(hashes.read_text())
    for pin in [pin for pin in known if pin.startswith("click==")]:
        del known[pin]
    hashes.write_text(json.dumps(known))
    tool.unlink()
    writes_what_is_committed(laptop, command)
    assert hashes.read_text() == (ROOT / "infra" / "hashes.json").read_text()
    assert "\npip-audit==" in tool.read_text()


def writes_what_is_committed(laptop: Laptop, command: str) -> None:
    """Run what writes a file of the repository: it is up to date already."""
    laptop.run(command)
    for path in ("infra/terraform/README.md", "functions/extract_audio/requirements.txt"):
        assert (laptop.checkout / path).read_text() == (ROOT / path).read_text(), path


def collects(laptop: Laptop, command: str) -> None:
    """Run pytest as the command does, over one module, without running its tests."""
    options = f"--collect-only -q -o cache_dir={laptop.folder}/cache tests/unit/test_docs.py"
    laptop.run(command, PYTEST_ADDOPTS=options)


def in_a_repository(laptop: Laptop, command: str) -> None:
    laptop.run(f"git init -q . && {command}")
    assert (laptop.checkout / ".git" / "hooks" / "pre-commit").exists()


def on_the_system(laptop: Laptop, command: str) -> None:
    """Run it below a folder instead of the root of the file system."""
    root = laptop.folder / "root"
    units = root / "etc" / "systemd" / "system"
    copy(ROOT / "infra" / "local" / "audio-pipeline.service", units / "audio-pipeline.service")
    _ = shutil.which("systemctl") or missing("systemctl")
    for path in ("/opt/", "/etc/"):
        command = command.replace(f" {path}", f" {root}{path}")
    # tests/artefact installs pip into an environment, which takes seconds.
    command = command.replace(" -m venv ", " -m venv --without-pip ")
    laptop.run(command.replace("--now ", ""))  # there is no systemd to start it


def settings(_: Laptop, command: str) -> None:
    """Accept the variables as settings, or as those of the next line's script."""
    variables = dict(word.split("=", 1) for word in command.split()[1:])
    Settings.from_environment(variables)
    assert variables.keys() <= {*Settings.variables(), "PROJECT", "ENV"}


def gcloud_calls(command: str) -> list[str]:
    """Return the calls of gcloud in a command, with values in place of the shell's."""
    command = re.sub(r"\$\(date \+%s\)", "1", command)
    command = re.sub(r"\$(one|index)", "some-name", command)
    calls = [call.strip() for call in re.findall(r"gcloud [a-z](?:'[^']*'|[^;|')])*", command)]
    # A mention in a sentence leaves out what the command needs.
    return [call if " --" in call else f"{call} --help" for call in calls]


def linted(laptop: Laptop, command: str) -> None:
    """Have gcloud's own parser accept it, which knows all flags without asking Google."""
    calls = gcloud_calls(command)
    assert calls
    assert [one for one in laptop.refused_by_gcloud if one.startswith(tuple(calls))] == []


def secret(laptop: Laptop, command: str) -> None:
    """Make the secret with jq, and have gcloud's parser accept what uploads it."""
    _ = shutil.which("jq") or missing("jq")
    for name in ("id_ed25519", "known_hosts"):
        (laptop.checkout / name).write_text(f"{name}\n")
    jq, _, gcloud = command.rpartition(" | ")
    made = json.loads(laptop.run(jq))
    assert made == {
        "username": "nightly",
        "private_key": "id_ed25519\n",
        "known_hosts": "known_hosts\n",
    }
    linted(laptop, gcloud)


def names_resources(_: Laptop, command: str) -> None:
    """Not run: the rig's configuration has no Firestore. The real one has these resources."""
    text = "".join(path.read_text() for path in (ROOT / "infra" / "terraform").glob("*.tf"))
    addresses = re.findall(r"(google_\w+)\.(\w+)", command)
    assert addresses
    for kind, name in addresses:
        assert f'resource "{kind}" "{name}"' in text, f"{kind}.{name}"


@dataclass(frozen=True)
class Elsewhere:
    """Run by another test, since it needs more than a command line to be judged."""

    module: str
    test: str

    def __call__(self, _laptop: Laptop, _command: str) -> None:
        text = (ROOT / "tests" / self.module).read_text()
        assert re.search(rf"^ *(def|class) {self.test}\b", text, re.MULTILINE)


@dataclass(frozen=True)
class InCI:
    """Run by ``.ci/run`` itself, of which this test is a part: as this target of it."""

    target: str

    def __call__(self, _laptop: Laptop, command: str) -> None:
        script = (ROOT / ".ci" / "run").read_text()
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^make .*\b{self.target}\b", script, re.MULTILINE)
        target = command.split()[1]
        rule = re.search(rf"^{target}:(.*?)(?:##|$)", makefile, re.MULTILINE)
        assert rule
        # It is that target, what that one needs, or made of what .ci/run names.
        needs = re.search(rf"^{self.target}:(.*?)(?:##|$)", makefile, re.MULTILINE)
        assert needs
        assert self.target == target or target in needs[1].split() or self.target in rule[1].split()


@dataclass(frozen=True)
class NotRun:
    """Not run, with the reason. ``help`` prints the flags where the tool is installed."""

    reason: str
    help: str = ""

    def __call__(self, _laptop: Laptop, command: str) -> None:
        program = self.help.split()[:1]
        if not program or not shutil.which(program[0]):
            return
        done = subprocess.run(shlex.split(self.help), capture_output=True, text=True, check=False)
        words = shlex.split(command)
        for flag in (word for word in words if word.startswith("-")):
            assert re.search(rf"(?<![\w-]){re.escape(flag)}\b", done.stdout + done.stderr), flag


DEMO = Elsewhere("e2e/test_make_run.py", "TestDemo")
MINUTES = NotRun("runs for minutes, on a quiet machine")
DOCKER = NotRun("no Docker engine here; test_local_recipes.py checks the file")

WAYS: dict[str, Way] = {
    # README
    "make run": DEMO,
    "make run EMULATORS=1": DEMO,
    "make run FILE=meeting.mp4": here,
    "audio-pipeline --help": here,
    "audio-pipeline extract": Elsewhere("e2e/test_cli.py", "test_[a-z_]+"),
    "audio-pipeline extract FILE…": on_recordings,
    "audio-pipeline serve": Elsewhere("e2e/test_serve.py", "TestServing"),
    "make deploy PROJECT=my-project": Elsewhere("delivery/test_whole.py", "test_from_[a-z_]+"),
    "terraform apply": Elsewhere("terraform/test_configuration.py", "test_[a-z_]+"),
    "make bench": MINUTES,
    # CONTRIBUTING
    "make setup": InCI("test"),
    "make help": here,
    "make check": InCI("lint"),
    "make test": InCI("test"),
    "make lint": InCI("lint"),
    "make types": InCI("types"),
    "make fuzz": lambda laptop, command: laptop.run(f"{command} SECONDS=2 SEED=7"),
    "make audit": InCI("audit"),
    "make chaos": Elsewhere("chaos/test_chaos.py", "test_[a-z_]+"),
    "make chaos SEED=7 N=500": Elsewhere("chaos/test_chaos.py", "test_[a-z_]+"),
    "make constraints": NotRun("asks the package index for the newest versions"),
    "make destroy": Elsewhere("delivery/test_destroy.py", "test_[a-z_]+"),
    "make requirements": writes_requirements,
    ".venv/bin/python infra/terraform_readme.py": writes_what_is_committed,
    "pytest --cache-clear": collects,
    ".venv/bin/pre-commit install": in_a_repository,
    # architecture
    "node tests/browser/screenshots.mjs URL FOLDER": Elsewhere(
        "browser/test_dashboard.py", "test_pictures"
    ),
    # cost
    "audio-pipeline cost --hours 100": here,
    "audio-pipeline cost --print-prices > prices.json": here,
    "audio-pipeline cost --hours 100 --prices prices.json": here,
    "audio-pipeline cost --hours N": lambda laptop, command: laptop.run(command[:-1] + "5"),
    "python -m benchmarks.drive_2gb": MINUTES,
    # self-hosting
    ".venv/bin/audio-pipeline serve --help": here,
    "sudo mkdir -p /opt/audio-pipeline /etc/audio-pipeline": on_the_system,
    "sudo python3 -m venv /opt/audio-pipeline/.venv": on_the_system,
    "sudo /opt/audio-pipeline/.venv/bin/pip install"
    " '.[drive-watch,extract-audio,sftp-compress,dashboard,cloud]' -c constraints.txt": Elsewhere(
        "artefact/test_command.py", "test_the_command_in_the_error_installs_the_cloud_extra"
    ),
    "sudo install -m 600 infra/local/env.example /etc/audio-pipeline/env": on_the_system,
    "sudo install -m 644 infra/local/audio-pipeline.service /etc/systemd/system/": on_the_system,
    "sudo systemctl daemon-reload": NotRun("no systemd runs here"),
    "sudo systemctl enable --now audio-pipeline": on_the_system,
    "systemctl stop": NotRun("no systemd runs here; test_serve.py sends its SIGTERM"),
    "journalctl -u audio-pipeline -f": NotRun("no journal here", "journalctl --help"),
    "cd infra/local": here,
    "cp env.example env": lambda laptop, command: laptop.run(f"cd infra/local && {command}"),
    "mkdir -p data/audio && sudo chown 10001 data/audio": here,
    "docker compose up -d --build": DOCKER,
    "docker stop": DOCKER,
    "gcsfuse --uid 10001 --gid 10001 -o allow_other my-recordings /mnt/my-recordings": NotRun(
        "needs a bucket of Google's", "gcsfuse --help"
    ),
    "AUDIO_DIR=/mnt/my-recordings docker compose up -d": DOCKER,
    # operations: the command line
    "audio-pipeline status": on_recordings,
    "audio-pipeline status --failed": on_recordings,
    "audio-pipeline status --json": on_recordings,
    "audio-pipeline audit": on_recordings,
    "audio-pipeline compress": Elsewhere("e2e/test_sftp_cli.py", "test_[a-z_]+"),
    "audio-pipeline retry --failed": on_recordings,
    "audio-pipeline retry KEY": on_recordings,
    "audio-pipeline doctor": on_drive,
    "audio-pipeline backfill --since 2025-01-01": on_drive,
    "export STORAGE_URL=gs://my-project-audio": settings,
    "export TRACKER_URL=firestore://my-project/audio-pipeline": settings,
    "export RECORDINGS_QUEUE_URL=pubsub://my-project/recordings": settings,
    "export SFTP_QUEUE_URL=pubsub://my-project/sftp-files": settings,
    "export PROJECT=my-project ENV=prod": settings,
    "PROJECT=my-project ENV=staging infra/deploy/identity.sh -var repository=owner/name": Elsewhere(
        "delivery/test_identity.py", "test_[a-z_]+"
    ),
}

#: Run one after the other on one deployment, by test_a_deployment.
DEPLOYMENT = [
    "make deploy PROJECT=my-project REGION=europe-west1 ENV=dev",
    "make deploy",
    "REBUILD=1 make deploy …",
    "PROJECT=my-project ENV=dev infra/deploy/terraform.sh output",
    "make plan",
    "make destroy PROJECT=my-project ENV=dev",
    "make plan PROJECT=my-project ENV=prod",
    "PROJECT=my-project ENV=prod infra/deploy/terraform.sh state list",
]

COMMANDS = documented_commands()


def way_of(command: str) -> Way | None:
    """Return how a command is run; ``None`` if no row names it."""
    if found := WAYS.get(command):
        return found
    if command.startswith("jq "):
        return secret
    if "gcloud " in command:
        return linted
    if command.startswith("infra/deploy/terraform.sh "):
        return names_resources
    return None


def test_every_command_has_a_way_to_run_it() -> None:
    unknown = [command for command in COMMANDS if not way_of(command)]
    assert sorted(set(unknown) - set(DEPLOYMENT)) == [], "add a row to WAYS"
    assert sorted(({*WAYS, *DEPLOYMENT}) - COMMANDS.keys()) == [], "no page shows these any more"


@pytest.mark.parametrize("command", [one for one in COMMANDS if way_of(one)])
def test_it_runs(laptop: Laptop, command: str) -> None:
    way = way_of(command)
    assert way
    way(laptop, command)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Rig]:
    """A laptop with the tools, and a stand-in of gcloud for a project of Google's."""
    deployed = type("ThisDeployed", (Deployed,), {})
    with fake_gcs_server(tmp_path / "gcs.log") as port, serving(deployed) as address:
        yield Rig(tmp_path, f"http://127.0.0.1:{port}", address)


@pytest.mark.slow
def test_a_deployment(project: Rig) -> None:
    """One environment after the other, since a project has one."""
    copy(ROOT / "Makefile", project.checkout / "Makefile")
    environment = ""
    for command in DEPLOYMENT:
        shown = command.replace(" …", "")
        if "PROJECT=" not in shown:
            shown = f"PROJECT=my-project {shown}"
        wanted = "prod" if "ENV=prod" in shown else "dev"
        if environment != wanted:
            environment = wanted
            deploys(project, f"make deploy PROJECT=my-project ENV={wanted}")
        deploys(project, shown)


def deploys(project: Rig, command: str) -> None:
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=project.checkout,
        env=project.environment,
        input="my-project\n" if " destroy " in command else "",
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout[-2000:]}{ended.stderr[-2000:]}"
