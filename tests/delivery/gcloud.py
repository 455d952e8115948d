"""A stand-in for gcloud, which cannot reach Google here; a program whose world is a file.

It accepts only the commands and flags that the scripts use, and refuses others with status 2, as
gcloud does. A test checks with the real gcloud's parser that it would accept them too.
"""

from __future__ import annotations

import json
import os
import re
import sys

TYPE_CHECKING = False  # as in typing, whose import would take a fifth of a command's time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    World = dict[str, Any]

#: Command to its flags, without those that every command has.
GRAMMAR = {
    "artifacts docker images list": {"--include-tags", "--filter"},
    "artifacts docker images list-vulnerabilities": set[str](),
    "artifacts docker images scan": {"--remote", "--location"},
    "auth list": {"--filter"},
    "auth print-access-token": set[str](),
    "auth print-identity-token": {"--audiences"},
    "beta builds submit": {
        "--region",
        "--config",
        "--ignore-file",
        "--substitutions",
        "--service-account",
        "--gcs-source-staging-dir",
    },
    "beta services identity create": {"--service"},
    "billing projects describe": set[str](),
    "config config-helper": {"--min-expiry"},
    "config get-value": set[str](),
    "run services describe": {"--region"},
    "scheduler jobs describe": {"--location"},
    "scheduler jobs run": {"--location"},
    "services enable": set[str](),
    "storage buckets create": {
        "--location",
        "--uniform-bucket-level-access",
        "--public-access-prevention",
    },
    "storage buckets list": {"--filter"},
    "storage buckets update": {"--versioning"},
    "storage service-agent": set[str](),
    "version": set[str](),
}
EVERYWHERE = {"--format", "--project", "--impersonate-service-account"}


def main(argv: list[str]) -> int:
    """Answer one command; returns its exit status."""
    command = next((name for name in GRAMMAR if argv[: len(name.split())] == name.split()), None)
    if command is None:
        return refuse(f"Invalid choice: {argv}")
    rest = argv[len(command.split()) :]
    flags = dict(word.partition("=")[::2] for word in rest if word.startswith("--"))
    if unknown := flags.keys() - GRAMMAR[command] - EVERYWHERE:
        return refuse(f"unrecognized arguments: {unknown}")
    path = os.environ["STANDIN_WORLD"]
    with open(path) as file:  # noqa: PTH123  # pathlib's import takes long too
        world = json.load(file)
    if command in world["broken"] or is_refused(world, command, argv, flags):
        print(f"ERROR: (gcloud.{command}) PERMISSION_DENIED", file=sys.stderr)
        return 1
    values = [word for word in rest if not word.startswith("--")]
    answer = ANSWERS.get(command)
    print(answer(world, values, flags) if answer else "")
    with open(path, "w") as file:  # noqa: PTH123
        json.dump(world, file)
    if world["listener"]:
        tell(world, command, values, flags)
    return 0


def is_refused(world: World, command: str, argv: list[str], flags: dict[str, str]) -> bool:
    """Return whether Google would refuse the command."""
    if command == "services enable":
        # "A single request can enable a maximum of 20 services", serviceusage's batchEnable.
        return len([word for word in argv if word.endswith(".googleapis.com")]) > 20
    if command == "auth print-identity-token" and "--impersonate-service-account" in flags:
        # gcloud gets an access token of the account first, and then the identity token.
        return "roles/iam.serviceAccountTokenCreator" not in world["roles_on_deployer"]
    return False


def tell(world: World, command: str, values: list[str], flags: dict[str, str]) -> None:
    """Report the command to a fake of Google's control plane; its refusal ends this program."""
    call = {"command": command, "values": values, "flags": flags, "images": world["images"]}
    post(world["listener"], call)


def post(url: str, body: Any) -> None:
    """Send JSON; an error of the server ends this program."""
    import urllib.request  # takes longer than all the rest, and few commands need it

    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers=headers)
    urllib.request.urlopen(request, timeout=30).close()


def refuse(why: str) -> int:
    print(f"ERROR: (gcloud) {why}", file=sys.stderr)
    return 2


def buckets(world: World, _: list[str], flags: dict[str, str]) -> str:
    # This filter may match longer names too.
    wanted = flags["--filter"].removeprefix("name=")
    found = {name: on for name, on in world["buckets"].items() if name.startswith(wanted)}
    return "\n".join(f"{name},{on}" for name, on in sorted(found.items(), reverse=True))


def create_bucket(world: World, values: list[str], _: dict[str, str]) -> str:
    name = values[0].removeprefix("gs://")
    post(f"{world['storage']}/storage/v1/b?project=test", {"name": name})
    world["buckets"][name] = ""
    return ""


def version_bucket(world: World, values: list[str], _: dict[str, str]) -> str:
    world["buckets"][values[0].removeprefix("gs://")] = "True"
    return ""


def build(world: World, _: list[str], flags: dict[str, str]) -> str:
    tag = flags["--substitutions"].rpartition("_TAG=")[2]
    number = len(world["images"]) + 1
    names = {"extract-audio": f"sha256:{number:064x}", "web": f"sha256:{number + 4096:064x}"}
    world["images"].append([tag, f"2026-01-01T00:00:{number:02}", names])
    return ""


def images(world: World, values: list[str], flags: dict[str, str]) -> str:
    pattern = flags["--filter"].removeprefix("tags~")
    name = values[0].rpartition("/")[2]
    tagged = {image[0]: image for image in world["images"]}  # the newest build has the tag
    found = [image for tag, image in tagged.items() if re.search(pattern, tag)]
    return "\n".join(f"{created},{names[name]}" for _, created, names in found)


def run_job(world: World, _: list[str], __: dict[str, str]) -> str:
    world["attempts"] += 1
    return ""


ANSWERS: dict[str, Callable[[World, list[str], dict[str, str]], str]] = {
    "artifacts docker images list": images,
    "artifacts docker images list-vulnerabilities": lambda world, *_: world["vulnerabilities"],
    "artifacts docker images scan": lambda *_: "projects/p/locations/europe/scans/1",
    "auth list": lambda world, *_: world["account"],
    "auth print-access-token": lambda *_: "access-token",
    "auth print-identity-token": lambda *_: "identity-token",
    "beta builds submit": build,
    "billing projects describe": lambda world, *_: world["billing"],
    "config config-helper": lambda *_: "access-token",
    "config get-value": lambda world, *_: world["account"],
    "run services describe": lambda world, values, _: world["addresses"][values[0]],
    "scheduler jobs describe": lambda world, *_: f"attempt {world['attempts']},{world['failed']}",
    "scheduler jobs run": run_job,
    "storage buckets create": create_bucket,
    "storage buckets list": buckets,
    "storage buckets update": version_bucket,
    "version": lambda world, *_: "\n".join(["Google Cloud SDK 528.0.0", *world["components"]]),
}
