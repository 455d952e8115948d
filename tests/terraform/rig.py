"""Runs Terraform on a copy of the configuration against a fake of Google's control plane."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.providers import check_initialised
from tests.terraform.checkout import check_out, terraform
from tests.terraform.control_plane import ENDPOINTS, World

#: Operations at the same time: the provider mostly waits.
_PARALLELISM = 60


@dataclass(frozen=True)
class Run:
    """A finished command of Terraform, from its messages in JSON."""

    command: str
    status: int
    messages: list[dict[str, Any]]
    text: str

    @property
    def changes(self) -> dict[str, str]:
        """Return what was planned: a resource's address to ``create``, ``update`` and so on."""
        planned = [m["change"] for m in self.messages if m.get("type") == "planned_change"]
        return {change["resource"]["addr"]: change["action"] for change in planned}

    @property
    def errors(self) -> list[str]:
        """Return the errors with the resource that each is of."""
        found = [m["diagnostic"] for m in self.messages if m.get("type") == "diagnostic"]
        return [
            f"{one.get('address', '')}: {one['summary']} {one['detail']}"
            for one in found
            if one["severity"] == "error"
        ]

    def succeeded(self) -> Run:
        """Fail the test unless the command did what it was asked for."""
        # plan -detailed-exitcode answers 2 for changes, which are no error.
        assert self.status in ({0, 2} if self.command == "plan" else {0}), self.report
        return self

    @property
    def report(self) -> str:
        """Return what a person needs to see of a failure."""
        changes = "\n".join(f"  {action} {address}" for address, action in self.changes.items())
        errors = "\n".join(self.errors) or self.text[-2000:]
        return f"terraform {self.command}: {self.status}\n{changes}\n{errors}"


@dataclass
class Deployment:
    """A copy of the repository's parts that Terraform reads, and the project it deploys to."""

    copy: Path
    world: World
    url: str
    project: str
    environment: str
    options: dict[str, Any]
    image: str = ""
    web_image: str = ""

    @property
    def infra(self) -> Path:
        return self.copy / "infra" / "terraform"

    def prepare(self) -> None:
        """Copy the files, point the provider at the fake, and initialise."""
        check_out(self.copy)
        point_at_the_fake(self.infra, self.url, backend="local")
        done = terraform("init", "-input=false", "-no-color", cwd=self.infra)
        check_initialised(done, "google")

    def apply(self) -> Run:
        return self._run("apply", "-auto-approve")

    def plan(self) -> Run:
        return self._run("plan", "-detailed-exitcode")

    def destroy(self) -> Run:
        return self._run("destroy", "-auto-approve")

    def graph(self) -> str:
        """Return which resource waits for which, in the language of Graphviz."""
        done = terraform("graph", cwd=self.infra)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def state(self) -> dict[str, Any]:
        """Return the state as it is stored."""
        stored: dict[str, Any] = json.loads((self.infra / "terraform.tfstate").read_text())
        return stored

    def _run(self, command: str, *more: str) -> Run:
        variables = {
            "project_id": self.project,
            "region": "europe-west1",
            "image": self.image,
            "web_image": self.web_image,
            **self.options,
        }
        (self.infra / "test.auto.tfvars.json").write_text(json.dumps(variables))
        done = terraform(
            command,
            "-json",
            "-input=false",
            f"-parallelism={_PARALLELISM}",
            f"-var-file=environments/{self.environment}.tfvars",
            *more,
            cwd=self.infra,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        messages = [json.loads(line) for line in lines]
        return Run(command, done.returncode, messages, done.stdout + done.stderr)


def point_at_the_fake(infra: Path, url: str, *, backend: str) -> None:
    """Point the provider of a copied configuration at the fake at ``url``."""
    lines = [f'  {name} = "{url}/{path}"' for name, path in ENDPOINTS.items()]
    text = "\n".join(
        [
            f'terraform {{\n  backend "{backend}" {{}}\n}}',
            'provider "google" {\n  access_token = "of-nobody"',
            # As in reality, where it waits 3 s for more requests of the same kind.
            '  batching {\n    enable_batching = true\n    send_after = "300ms"\n  }',
            *lines,
            "}\n",
        ]
    )
    (infra / "fake_override.tf").write_text(text)
