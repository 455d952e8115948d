"""Cloud Storage: buckets, their policies, and objects with versions."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from email.message import Message

import google_crc32c

from tests.terraform.control_plane import policies, roles
from tests.terraform.control_plane.errors import ApiError, invalid, not_found, require
from tests.terraform.control_plane.routing import Api, Call, text
from tests.terraform.control_plane.world import Json, Project, World, now

SERVICE = "storage.googleapis.com"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,61}[a-z0-9]")
_BUCKET = "storage/v1/b/{bucket}"
_OBJECT = _BUCKET + "/o/{object}"
_PUBLIC = {"allUsers", "allAuthenticatedUsers"}
_WEEK_S = 604_800
_NUMBERS = ("retentionDurationSeconds", "retentionPeriod")


def bucket_name(bucket: str) -> str:
    """Return the full name of a bucket."""
    return f"//{SERVICE}/projects/_/buckets/{bucket}"


def object_name(bucket: str, name: str) -> str:
    """Return the full name of an object, without a version."""
    return f"{bucket_name(bucket)}/objects/{name}"


def _owner(call: Call) -> Project:
    if "bucket" not in call.params:
        return call.world.project(call.query["project"])
    return call.world.project(_bucket(call)["projectNumber"])


API = Api(SERVICE, "storage", _owner)
UPLOADS = Api(SERVICE, "upload", _owner)


def _bucket(call: Call) -> Json:
    name = bucket_name(call["bucket"])
    if name not in call.world.resources:
        raise ApiError(404, "The specified bucket does not exist.")
    return call.world.resources[name]


@API.route("POST", "storage/v1/b")
def create(call: Call) -> Json:
    """Create a bucket; its name is unique in the world."""
    name = call.body["name"]
    usable = _NAME.fullmatch(name) and "goog" not in name and ".." not in name
    require(usable, f"Invalid bucket name: '{name}'")
    project = call.world.project(call.query["project"])
    if bucket_name(name) in call.world.resources:
        message = "The requested bucket name is not available. The bucket namespace is shared."
        raise ApiError(409, message)
    key = text(call.body, "encryption", "defaultKmsKeyName")
    _check_key(call, project, key)
    _check_lifecycle(call.body)
    make_bucket(call.world, project, call.body)
    return call.world.resources[bucket_name(name)]


def _check_key(call: Call, project: Project, key: str | None) -> None:
    if key:
        charged = {**call.params, "project": project.id}
        policies.require_key(
            Call(**{**call.__dict__, "params": charged}),  # the bucket's path names no project
            key,
            SERVICE,
        )


def make_bucket(world: World, project: Project, body: Json) -> None:
    """Store a bucket with what Cloud Storage adds."""
    bucket = {
        "storageClass": "STANDARD",
        "softDeletePolicy": {"retentionDurationSeconds": str(_WEEK_S)},
        **body,
        "kind": "storage#bucket",
        "id": body["name"],
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{body['name']}",
        "projectNumber": str(project.number),
        "location": body["location"].upper(),
        "locationType": "region",
        "timeCreated": now(),
        "updated": now(),
        "metageneration": "1",
        "etag": world.etag(),
    }
    world.create(bucket_name(body["name"]), _normal(bucket))
    world.policies[bucket_name(body["name"])] = {
        "version": 1,
        "etag": world.etag(),
        "bindings": [
            {
                "role": "roles/storage.legacyBucketOwner",
                "members": [f"projectEditor:{project.id}", f"projectOwner:{project.id}"],
            }
        ],
    }


def _normal(bucket: Json) -> Json:
    # 64-bit integers are strings in JSON, and an Autoclass that is off is not shown.
    for policy in ("softDeletePolicy", "retentionPolicy"):
        for number in _NUMBERS:
            if number in (bucket.get(policy) or {}):
                bucket[policy][number] = str(bucket[policy][number])
    if bucket.get("autoclass") and not bucket["autoclass"].get("enabled"):
        del bucket["autoclass"]
    if bucket.get("autoclass"):
        bucket["autoclass"].setdefault("terminalStorageClass", "NEARLINE")
    return bucket


def _check_lifecycle(body: Json) -> None:
    kept = text(body, "softDeletePolicy", "retentionDurationSeconds")
    sound = kept is None or int(kept) == 0 or _WEEK_S <= int(kept) <= 90 * 86_400
    require(sound, "Soft delete retention is 0, or 7 to 90 days.")
    rules = text(body, "lifecycle", "rule") or ()
    for rule in rules:
        require(rule.get("condition"), "A lifecycle rule needs a condition.")
    classes = {rule["action"].get("storageClass") for rule in rules} - {None}
    mixed = text(body, "autoclass", "enabled") and classes
    require(not mixed, "SetStorageClass rules cannot be used with Autoclass.")


@API.route("GET", _BUCKET)
def get(call: Call) -> Json:
    """Return a bucket."""
    return _bucket(call)


@API.route("PATCH", _BUCKET)
def update(call: Call) -> Json:
    """Change a bucket; ``null`` clears a field."""
    bucket = _bucket(call)
    merged = {**bucket, **call.body}
    _check_lifecycle(merged)
    bucket.clear()
    bucket.update(_normal({key: value for key, value in merged.items() if value is not None}))
    return bucket


@API.route("DELETE", _BUCKET)
def delete(call: Call) -> Json:
    """Delete a bucket that has no objects and no versions."""
    _bucket(call)
    if _versions(call.world, call["bucket"]):
        raise ApiError(409, "The bucket you tried to delete is not empty.", "CONFLICT")
    call.world.delete(bucket_name(call["bucket"]))
    return {}


@API.route("GET", f"{_BUCKET}/iam")
def get_policy(call: Call) -> Json:
    """Return a bucket's policy."""
    _bucket(call)
    return policies.read(call.world, bucket_name(call["bucket"]))


@API.route("PUT", f"{_BUCKET}/iam")
def set_policy(call: Call) -> Json:
    """Replace a bucket's policy; the public is kept out where that is enforced."""
    prevention = text(_bucket(call), "iamConfiguration", "publicAccessPrevention")
    members = {m for binding in call.body.get("bindings", ()) for m in binding["members"]}
    if prevention == "enforced" and members & _PUBLIC:
        raise ApiError(412, "Public access prevention is enforced.", "FAILED_PRECONDITION")
    return policies.write(call.world, bucket_name(call["bucket"]), roles.BUCKET, call.body)


@UPLOADS.route("POST", f"{_BUCKET}/o")
def upload(call: Call) -> Json:
    """Create an object, or replace it."""
    require(call.query.get("uploadType") == "multipart", "Only multipart uploads are known.")
    metadata, data = _parts(call)
    name = call.query.get("name") or metadata["name"]
    return put_object(call.world, call["bucket"], name, data, metadata)


def put_object(world: World, bucket: str, name: str, data: bytes, metadata: Json) -> Json:
    """Store an object; the one before it becomes a version, or is gone."""
    _retire(world, bucket, name)
    checksum = google_crc32c.value(data).to_bytes(4, "big")
    body = {
        "storageClass": "STANDARD",
        **metadata,
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "generation": str(1_700_000_000_000_000 + world.serial()),
        "metageneration": "1",
        "size": str(len(data)),
        "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
        "crc32c": base64.b64encode(checksum).decode(),
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket}/o/{name}",
        "timeCreated": now(),
        "updated": now(),
    }
    body["id"] = f"{bucket}/{name}/{body['generation']}"
    world.contents[object_name(bucket, name)] = data
    return world.create(object_name(bucket, name), body)


def _parts(call: Call) -> tuple[Json, bytes]:
    kind = Message()
    kind["content-type"] = call.headers["content-type"]
    boundary = b"\r\n--" + str(kind.get_param("boundary", "")).encode()
    parts = (b"\r\n" + call.raw).split(boundary)[1:-1]
    require(len(parts) == 2, f"An upload has metadata and content, not {len(parts)} parts.")
    (_, metadata), (head, content) = (part.split(b"\r\n\r\n", 1) for part in parts)
    fields = json.loads(metadata)
    media = re.search(rb"(?i)content-type:\s*([^\s;]+)", head)
    fields.setdefault("contentType", media[1].decode() if media else "application/octet-stream")
    return fields, content


@API.route("GET", _OBJECT)
def get_object(call: Call) -> Json:
    """Return what is known of an object."""
    name = object_name(call["bucket"], call["object"])
    if name not in call.world.resources:
        raise not_found(name)
    return call.world.resources[name]


@API.route("GET", f"{_BUCKET}/o")
def list_objects(call: Call) -> Json:
    """List objects with their versions, which is how the provider empties a bucket."""
    _bucket(call)
    return {"items": [call.world.resources[n] for n in _versions(call.world, call["bucket"])]}


@API.route("DELETE", _OBJECT)
def delete_object(call: Call) -> Json:
    """Delete one generation for good; without one, the object becomes a version."""
    generation = call.query.get("generation")
    if not generation:
        get_object(call)
        _retire(call.world, call["bucket"], call["object"])
        return {}
    for name in _versions(call.world, call["bucket"]):
        found = call.world.resources[name]
        if (found["name"], found["generation"]) == (call["object"], generation):
            call.world.delete(name)
            return {}
    raise not_found(f"{call['object']}#{generation}")


def _versions(world: World, bucket: str) -> list[str]:
    return world.below(f"{bucket_name(bucket)}/objects/")


def _retire(world: World, bucket: str, name: str) -> None:
    full = object_name(bucket, name)
    if full not in world.resources:
        return
    retired = world.resources[full]
    world.delete(full)
    if text(world.resources[bucket_name(bucket)], "versioning", "enabled"):
        world.create(f"{full}#{retired['generation']}", {**retired, "timeDeleted": now()})


@API.route("GET", _BUCKET + "/anywhereCaches/")
def list_caches(call: Call) -> Json:
    """List none: none is ever made."""
    _bucket(call)
    return {"items": []}


def content(world: World, bucket: str, name: str) -> bytes:
    """Return an object's content, or refuse with 400 as its readers do."""
    full = object_name(bucket, name)
    if full not in world.contents:
        raise invalid(f"Could not find object gs://{bucket}/{name}.")
    return world.contents[full]
