"""Firestore: databases, composite indexes, fields' settings and backup schedules."""

from __future__ import annotations

import re

from tests.terraform.control_plane import operations, policies
from tests.terraform.control_plane.apis.pubsub import seconds
from tests.terraform.control_plane.errors import ApiError, exists, not_found, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, now, patch, without_defaults

API = Api("firestore.googleapis.com", "firestore")
_DATABASE = "projects/{project}/databases/{database}"
_GROUP = _DATABASE + "/collectionGroups/{collection}"
_ID = re.compile(r"[a-z][a-z0-9-]{2,61}[a-z0-9]|\(default\)")
_PROTECTED = "DELETE_PROTECTION_ENABLED"
_RECOVERABLE = "POINT_IN_TIME_RECOVERY_ENABLED"


def _database(call: Call) -> Json:
    path = f"projects/{call.project.id}/databases/{call['database']}"
    return call.world.get(f"//{API.service}/{path}")


def _parent(call: Call) -> str:
    return f"projects/{call.project.id}/databases/{call.params.get('database', '-')}"


@API.route("POST", "v1/projects/{project}/databases")
def create_database(call: Call) -> Json:
    """Create a database; the name of a deleted one rests for five minutes."""
    database_id = call.query["databaseId"]
    require(_ID.fullmatch(database_id), f"Invalid database id: {database_id}")
    require(call.body.get("locationId"), "A database needs a location.")
    path = f"projects/{call.project.id}/databases/{database_id}"
    name = f"//{API.service}/{path}"
    if name in call.world.resources:
        raise exists(path)
    rests = name in call.world.resting_names
    require(
        not rests, f"Database ID '{database_id}' is not available. Please retry in 300 seconds."
    )
    policies.require_key(call, text(call.body, "cmekConfig", "kmsKeyName"), API.service)
    body = {**_defaults(call), **call.body, "name": path, "uid": f"uid-{call.world.serial()}"}
    return operations.start(
        call.world, path, lambda: call.world.create(name, _with_retention(body))
    )


def _defaults(call: Call) -> Json:
    return {
        "type": "FIRESTORE_NATIVE",
        "concurrencyMode": "PESSIMISTIC",
        "appEngineIntegrationMode": "DISABLED",
        "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_DISABLED",
        "deleteProtectionState": "DELETE_PROTECTION_DISABLED",
        "databaseEdition": "STANDARD",
        "createTime": now(),
        "updateTime": now(),
        "earliestVersionTime": now(),
        "etag": call.world.etag(),
    }


def _with_retention(database: Json) -> Json:
    recoverable = database["pointInTimeRecoveryEnablement"] == _RECOVERABLE
    return {**database, "versionRetentionPeriod": "604800s" if recoverable else "3600s"}


@API.route("GET", f"v1/{_DATABASE}")
def get_database(call: Call) -> Json:
    """Return a database."""
    return _database(call)


@API.route("PATCH", f"v1/{_DATABASE}")
def update_database(call: Call) -> Json:
    """Change a database."""
    database = _database(call)

    def work() -> Json:
        patch(database, call.body, call.mask)
        database.update(_with_retention(database))
        return database

    return operations.start(call.world, call.path, work)


@API.route("DELETE", f"v1/{_DATABASE}")
def delete_database(call: Call) -> Json:
    """Delete a database with all in it, unless it is protected."""
    if _database(call)["deleteProtectionState"] == _PROTECTED:
        message = "Database cannot be deleted: delete protection is enabled."
        raise ApiError(400, message, "FAILED_PRECONDITION")
    for name in [call.name, *call.world.below(f"{call.name}/")]:
        call.world.delete(name)
    call.world.resting_names.add(call.name)
    return operations.start(call.world, call.path, dict)


@API.route("POST", f"v1/{_GROUP}/indexes")
def create_index(call: Call) -> Json:
    """Create a composite index; the same one twice is refused."""
    _database(call)
    fields = [field for field in call.body["fields"] if field["fieldPath"] != "__name__"]
    require(len(fields) >= 2, "this index is not necessary, configure using single field index")
    last = fields[-1].get("order", "ASCENDING")
    body = {
        "queryScope": "COLLECTION",
        **call.body,
        "fields": [*fields, {"fieldPath": "__name__", "order": last}],
    }
    for name in call.world.below(f"{call.name}/"):
        other = call.world.resources[name]
        if all(other[key] == body[key] for key in ("fields", "queryScope")):
            raise ApiError(409, "index already exists")
    path = f"{call.path}/C{call.world.serial():011d}"
    body |= {"name": path, "state": "READY", "density": "SPARSE_ALL"}
    return operations.start(
        call.world, _parent(call), lambda: call.world.create(f"//{API.service}/{path}", body)
    )


@API.route("GET", f"v1/{_GROUP}/indexes/{{index}}")
@API.route("GET", f"v1/{_DATABASE}/backupSchedules/{{schedule}}")
def get(call: Call) -> Json:
    """Return an index or a backup schedule."""
    _database(call)
    return call.world.get(call.name)


@API.route("DELETE", f"v1/{_GROUP}/indexes/{{index}}")
@API.route("DELETE", f"v1/{_DATABASE}/backupSchedules/{{schedule}}")
def delete(call: Call) -> Json:
    """Delete an index or a backup schedule."""
    _database(call)
    call.world.delete(call.name)
    return {}


@API.route("GET", f"v1/{_GROUP}/fields/{{field}}")
def get_field(call: Call) -> Json:
    """Return a field's settings, which every field has."""
    _database(call)
    return call.world.resources.get(call.name) or _plain_field(call)


def _plain_field(call: Call) -> Json:
    indexes = [
        {"queryScope": "COLLECTION", "fields": [{"fieldPath": call["field"], **kind}]}
        for kind in ({"order": "ASCENDING"}, {"order": "DESCENDING"}, {"arrayConfig": "CONTAINS"})
    ]
    ancestor = f"{_parent(call)}/collectionGroups/__default__/fields/*"
    config = {"indexes": indexes, "usesAncestorConfig": True, "ancestorField": ancestor}
    return {"name": call.path, "indexConfig": config}


@API.route("PATCH", f"v1/{_GROUP}/fields/{{field}}")
def update_field(call: Call) -> Json:
    """Change a field's settings; one that has none of its own is not kept."""
    _database(call)

    def work() -> Json:
        settings = _plain_field(call)
        mask = call.mask.split(",") if call.mask else list(call.body)
        if "ttlConfig" in mask and call.body.get("ttlConfig") is not None:
            settings["ttlConfig"] = {"state": "ACTIVE"}
        if "indexConfig" in mask and call.body.get("indexConfig"):
            settings["indexConfig"] = {"indexes": [], **call.body["indexConfig"]}
        call.world.resources.pop(call.name, None)
        if settings != _plain_field(call):
            call.world.create(call.name, settings)
        return settings

    return operations.start(call.world, _parent(call), work)


@API.route("POST", f"v1/{_DATABASE}/backupSchedules")
def create_schedule(call: Call) -> Json:
    """Create a backup schedule; a database has one daily and one weekly at most."""
    _database(call)
    kind = next((k for k in ("dailyRecurrence", "weeklyRecurrence") if k in call.body), "")
    require(kind, "A backup schedule is daily or weekly.")
    require(
        seconds(call.body["retention"]) <= 14 * 7 * 86_400, "Backups are kept 14 weeks at most."
    )
    for name in call.world.below(f"{call.name}/"):
        if kind in call.world.resources[name]:
            raise exists(kind)
    path = f"{call.path}/schedule-{call.world.serial()}"
    body = {**call.body, "name": path, "createTime": now(), "updateTime": now()}
    return without_defaults(call.world.create(f"//{API.service}/{path}", body))


@API.route("GET", f"v1/{_DATABASE}/operations/{{operation}}")
def operation(call: Call) -> Json:
    """Answer for an operation."""
    found = call.world.operations.get(call.path)
    if found is None:
        raise not_found(call.path)
    return found
