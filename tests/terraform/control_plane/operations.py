"""Long-running operations: pending when they are answered, done when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

from tests.terraform.control_plane.errors import ApiError, not_found
from tests.terraform.control_plane.routing import Api, Call
from tests.terraform.control_plane.world import Json, World


def start(world: World, parent: str, work: Callable[[], Json]) -> Json:
    """Do the work, and return an operation below ``parent`` that reports its result later."""
    name = f"{parent}/operations/op-{world.serial()}"
    done: Json = {"name": name, "done": True}
    try:
        done["response"] = work()
    except ApiError as error:
        done["error"] = error.rpc()
    world.operations[name] = done
    return {"name": name}


def find(call: Call) -> Json:
    """Answer for an operation."""
    name = call.path
    if name not in call.world.operations:
        raise not_found(name)
    return call.world.operations[name]


def serve_operations(api: Api, version: str, parent: str) -> None:
    """Let an API answer for operations below ``parent``."""
    api.route("GET", f"{version}/{parent}/operations/{{operation}}")(find)
