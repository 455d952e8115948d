"""A client of the fake, and what its tests ask for in many places."""

from __future__ import annotations

import io
import json
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from typing import Any

from tests.terraform.control_plane import World

Json = dict[str, Any]

PROJECT = "projects/my-project"
REGION = f"{PROJECT}/locations/europe-west1"
DIGEST = "sha256:" + "ab" * 32
WORKER = "worker@my-project.iam.gserviceaccount.com"
SOURCES = "my-project-functions-source"

TOPICS = f"pubsub/v1/{PROJECT}/topics"
ACCOUNTS = f"iam/v1/{PROJECT}/serviceAccounts"
BUCKETS = "storage/storage/v1/b?project=my-project"
SERVICE = f"run/v2/{REGION}/services?serviceId=extract-audio"


@dataclass
class Client:
    """Speaks to the fake as the provider does."""

    url: str
    world: World

    def ask(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        request = urllib.request.Request(
            f"{self.url}/{path}",
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": "Bearer of-nobody", "X-Goog-User-Project": "my-project"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def do(self, method: str, path: str, body: Json | None = None) -> Json:
        """Ask for what must succeed; returns the answer, or an operation's response."""
        status, answer = self.ask(method, path, body)
        assert status == 200, answer
        if "/operations/" not in answer.get("name", ""):
            return answer
        return self.wait(path, answer)

    def wait(self, path: str, operation: Json) -> Json:
        prefix = "/".join(path.split("/")[:2])
        done = self.ask("GET", f"{prefix}/{operation['name']}")[1]
        assert "error" not in done, done
        response: Json = done["response"]
        return response

    def refused(self, method: str, path: str, body: Json | None = None) -> tuple[int, str]:
        """Ask for what must fail; returns the code (google.rpc's for operations) and message."""
        status, answer = self.ask(method, path, body)
        if status == 200:
            prefix = "/".join(path.split("/")[:2])
            answer = self.ask("GET", f"{prefix}/{answer['name']}")[1]
        return answer["error"]["code"], answer["error"]["message"]


def bucket(name: str, **more: Any) -> Json:
    return {"name": name, "location": "europe-west1", **more}


def archive(*left_out: str, main: str = "def entry(request):\n    return ''\n") -> bytes:
    files = {"main.py": main, "requirements.txt": "functions-framework\n"}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            if name not in left_out:
                archive.writestr(name, content)
    return target.getvalue()


def policy_of(role: str, *members: str, **more: Any) -> Json:
    return {"policy": {"bindings": [{"role": role, "members": list(members)}], **more}}


def secret_of() -> Json:
    return {"replication": {"automatic": {}}}


def scaled_service(*, instances: int, cpu: str, memory: str) -> Json:
    service = service_of(resources={"limits": {"cpu": cpu, "memory": memory}})
    service["template"]["scaling"] = {"maxInstanceCount": instances}
    return service


def service_of(**container: Any) -> Json:
    image = {"image": "us-docker.pkg.dev/cloudrun/container/hello", **container}
    return {"template": {"serviceAccount": WORKER, "containers": [image]}}
