"""Runs the scripts with the real Terraform on a state in a bucket, and records every call."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

from tests.emulators import find_tool
from tests.paths import ROOT
from tests.terraform.checkout import LAZY_GC

HERE = Path(__file__).parent
PROJECT = "audio-test-1"
IMAGE = f"europe-west1-docker.pkg.dev/{PROJECT}/audio-pipeline/extract-audio"

#: Records the call, and becomes the program. A shell, since a deployment makes 40 calls and Python
#: starts ten times slower. Both separators are characters of ASCII that no argument contains.
RECORDER = """#!/bin/sh
call=$(printf '%s\\037' {name} "$@")
printf '%s\\036' "$call" >>"{log}"
exec {program} "$@"
"""
#: Without its site (-S), and from its compiled module.
GCLOUD = (
    f'{sys.executable} -IS -c \'import sys; sys.path.insert(0, "{HERE}"); '
    "import gcloud; sys.exit(gcloud.main(sys.argv[1:]))'"
)


def copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder without what running it has left there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def roles_on_deployer() -> list[str]:
    """Return the roles that the deployer has on itself, from the configuration that creates it."""
    text = (ROOT / "infra" / "terraform" / "identity" / "deployer.tf").read_text()
    grants = re.findall(
        r'resource "google_service_account_iam_member" "\w+" \{(.*?)\n\}', text, re.DOTALL
    )
    return [role for grant in grants for role in re.findall(r'role += "(.+?)"', grant)]


def digest(number: int, name: str = "extract-audio") -> str:
    """Return the image ``name`` of the build with this number."""
    image = IMAGE.replace("extract-audio", name)
    return f"{image}@sha256:{number + (4096 if name == 'web' else 0):064x}"


@dataclass
class Rig:
    """A laptop: a ``PATH`` with the tools, and a Google Cloud of which ``world`` is the state."""

    folder: Path
    storage: str
    service: str
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.log = self.folder / "calls"
        self.log.touch()
        self.checkout = self.folder / "checkout"
        self._check_out()
        self.terraform_dir = self.checkout / "infra" / "terraform"
        shutil.copytree(HERE / "trial", self.terraform_dir)
        shutil.copy(ROOT / "infra" / "terraform" / "apis.json", self.terraform_dir)
        self._record("gcloud", GCLOUD)
        self._record("terraform", find_tool("terraform"))
        self.change(
            account="me@example.com",
            addresses={"extract-audio": self.service, "notify": self.service},
            attempts=0,
            billing="True",
            broken=[],
            buckets={},
            components=["beta 2025.06.20", "local-extract 1.6.2"],
            failed="",
            images=[],
            listener="",
            roles_on_deployer=roles_on_deployer(),
            storage=self.storage,
            vulnerabilities="",
        )

    def _check_out(self) -> None:
        let_in = (ROOT / ".dockerignore").read_text().split()
        sources = [line[1:] for line in let_in if line.startswith("!")]
        for name in ["infra/deploy", ".dockerignore", ".gcloudignore", *sources]:
            copy(ROOT / name, self.checkout / name)

    def _record(self, name: str, program: str) -> None:
        path = self.bin / name
        path.write_text(RECORDER.format(log=self.log, name=name, program=program))
        path.chmod(0o755)

    @property
    def _world(self) -> Path:
        return self.folder / "world.json"

    @property
    def world(self) -> dict[str, Any]:
        """What exists at Google."""
        known: dict[str, Any] = json.loads(self._world.read_text()) if self._world.exists() else {}
        return known

    def change(self, **what: Any) -> None:
        """Change something at Google."""
        self._world.write_text(json.dumps({**self.world, **what}))

    @property
    def environment(self) -> dict[str, str]:
        """The laptop's environment; only the tools are this machine's."""
        return {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "STANDIN_WORLD": str(self._world),
            "DEPLOY_DIR": str(self.folder / "work"),
            "GOOGLE_BACKEND_STORAGE_CUSTOM_ENDPOINT": f"{self.storage}/storage/v1/",
            "CHECKPOINT_DISABLE": "1",
            **LAZY_GC,
            "TF_CLI_ARGS_plan": "-no-color",
            "SMOKE_SECONDS": "0",
            "GRANT_SECONDS": "0",
            "RETRY_SECONDS": "0",
            "YES": "1",
            "PROJECT": PROJECT,
            **self.more,
        }

    def run(
        self, script: str, *arguments: str, typed: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a script; an empty variable is one that is not set."""
        return run(
            [str(self.checkout / "infra" / "deploy" / f"{script}.sh"), *arguments],
            {**self.environment, **environment},
            typed,
        )

    def calls(self) -> list[str]:
        """Return all calls so far, each as one line."""
        return [" ".join(call) for call in self.argvs()]

    def argvs(self) -> list[list[str]]:
        """Return all calls so far."""
        return [call.split("\037")[:-1] for call in self.log.read_text().split("\036")[:-1]]

    def forget_calls(self) -> None:
        """Start a new list of calls."""
        self.log.write_text("")

    def state(self) -> dict[str, Any]:
        """Return Terraform's state: resource name → attributes."""
        done = run(
            [find_tool("terraform"), f"-chdir={self.terraform_dir}", "state", "pull"],
            {**self.environment, "TF_DATA_DIR": str(self.data_dir()), **TOKEN},
        )
        resources = json.loads(done.stdout)["resources"]
        return {one["name"]: one["instances"][0]["attributes"] for one in resources}

    def data_dir(self, environment: str = "dev") -> Path:
        """Return where Terraform was initialised."""
        return self.folder / "work" / f"{PROJECT}-{environment}" / "terraform"

    def deployed(self) -> str:
        """Return the image that runs."""
        image: str = self.state()["extract_audio"]["input"]["value"]
        return image


@dataclass
class Snapshot:
    """What a laptop and its state's bucket contain when this is made, kept in the folder ``kept``.

    A deployment takes seconds of processor time, and many tests begin after one.
    """

    rig: Rig
    kept: Path

    def __post_init__(self) -> None:
        shutil.copytree(self.rig.folder, self.kept / "laptop", symlinks=True)
        self._bucket = f"{self.rig.storage}/storage/v1/b/{PROJECT}-terraform-state/o"
        self._objects = {
            name: _ask("GET", f"{self._bucket}/{quote(name, safe='')}?alt=media")
            for name in self._names()
        }

    def restore(self) -> Rig:
        """Put everything back, whatever a test has changed since; returns the laptop."""
        shutil.rmtree(self.rig.folder)
        shutil.copytree(self.kept / "laptop", self.rig.folder, symlinks=True)
        self.rig.more.clear()
        for name in self._names():
            _ask("DELETE", f"{self._bucket}/{quote(name, safe='')}")
        upload = self._bucket.replace("/storage/v1/", "/upload/storage/v1/")
        for name, content in self._objects.items():
            _ask("POST", f"{upload}?uploadType=media&name={quote(name, safe='')}", content)
        return self.rig

    def _names(self) -> list[str]:
        found = json.loads(_ask("GET", self._bucket))
        return [one["name"] for one in found.get("items", [])]


def _ask(method: str, url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content


TOKEN = {"GOOGLE_OAUTH_ACCESS_TOKEN": "access-token"}


def run(
    command: list[str], environment: Mapping[str, str], typed: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command with just this environment; an empty variable is one that is not set."""
    return subprocess.run(
        command,
        env={name: value for name, value in environment.items() if value},
        input=typed,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


class Deployed(BaseHTTPRequestHandler):
    """Both deployed services: extract_audio behind Cloud Run's check of the caller, and notify.

    ``public`` is whether that check is off for notify.
    """

    health: ClassVar[str] = "ok"
    forgery: ClassVar[int] = 403
    public: ClassVar[bool] = True

    def do_GET(self) -> None:
        if self.path == "/":
            return self._answer(405 if self.public else 403)
        if self.headers["Authorization"] != "Bearer identity-token":
            return self._answer(401)
        if self.path == "/live":
            return self._answer(200, "ok\n")
        status = 200 if self.health == "ok" else 503
        return self._answer(status, json.dumps({"status": self.health, "components": {}}) + "\n")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._answer(self.forgery if self.public else 403)

    def _answer(self, status: int, body: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on a free port of the loopback interface; yields the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
