"""What a function, service or job needs to start: account, secrets, network, sizes, buckets."""

from __future__ import annotations

import re

from tests.terraform.control_plane import policies
from tests.terraform.control_plane.apis import artifactregistry, compute, secretmanager
from tests.terraform.control_plane.apis.storage import bucket_name
from tests.terraform.control_plane.errors import invalid, not_found, require
from tests.terraform.control_plane.routing import Call, text
from tests.terraform.control_plane.world import Json

_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "K": 10**3, "M": 10**6, "G": 10**9}
#: vCPU to the least and the most memory in MiB ("CPU limits" and "Memory limits", Cloud Run).
_MEMORY = {1: (128, 4096), 2: (128, 8192), 4: (2048, 16_384), 6: (4096, 24_576), 8: (4096, 32_768)}
#: What the platform sets by itself.
_RESERVED = frozenset(
    {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", "FUNCTION_TARGET"}
    | {"FUNCTION_SIGNATURE_TYPE", "CLOUD_RUN_JOB", "CLOUD_RUN_EXECUTION", "CLOUD_RUN_TASK_INDEX"}
)


def megabytes(quantity: str) -> float:
    """Return a quantity such as ``512Mi`` or ``256M`` in MiB."""
    match = re.fullmatch(r"([\d.]+)([KMG]i?|)", quantity)
    if not match:
        raise invalid(f"Invalid quantity: {quantity}")
    return float(match[1]) * _UNITS[match[2]] / 2**20


def vcpus(quantity: str) -> float:
    """Return a quantity such as ``4``, ``0.5`` or ``1000m`` in vCPU."""
    match = re.fullmatch(r"([\d.]+)(m?)", quantity)
    if not match:
        raise invalid(f"Invalid CPU: {quantity}")
    return float(match[1]) / (1000 if match[2] else 1)


def check_size(cpu: str, memory: str, concurrency: int = 1) -> None:
    """Refuse a size that Cloud Run does not offer."""
    count, size = vcpus(cpu), megabytes(memory)
    if count < 1:
        require(count >= 0.08 and size <= 512 + 512 * (count >= 0.5), f"{cpu} CPU for {memory}")
        require(concurrency == 1, "Total CPU < 1 is not supported with concurrency > 1.")
        return
    require(count in _MEMORY, f"Invalid value for CPU: {cpu}. It is 1, 2, 4, 6 or 8.")
    least, most = _MEMORY[int(count)]
    require(least <= size <= most, f"{cpu} CPU need {least} to {most} MiB of memory, not {memory}.")
    require(1 <= concurrency <= 1000, "The concurrency is 1 to 1000.")


def check_names(plain: list[str], secret: list[str]) -> None:
    """Refuse environment variables that are reserved, or given twice."""
    for name in [*plain, *secret]:
        reserved = name in _RESERVED or name.startswith("X_GOOGLE_")
        require(not reserved, f"The environment variable {name} is reserved.")
        require(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name), f"Invalid variable: {name}")
    both = {name for name in plain if name in secret} | {n for n in plain if plain.count(n) > 1}
    require(not both, f"Environment variables are set twice: {sorted(both)}")


def check_account(call: Call, email: str) -> None:
    """Refuse a service account that is not there."""
    known = policies.account_exists(call.world, email.rpartition("/")[2])
    if not known:
        raise not_found(f"Service account {email} does not exist.")


def check_template(call: Call, template: Json) -> None:
    """Refuse a revision's or a task's template that Cloud Run would refuse."""
    email = template.get("serviceAccount", "")
    require(email, "The default service account of Compute Engine is not there.")
    check_account(call, email)
    volumes = {volume["name"]: volume for volume in template.get("volumes", ())}
    for volume in volumes.values():
        _check_volume(call, volume, email)
    for container in template["containers"]:
        _check_container(call, container, email, volumes)
        check_limits(container, template.get("maxInstanceRequestConcurrency", 1))
        limits = text(container, "resources", "limits") or {}
        instances = text(template, "scaling", "maxInstanceCount") or 1
        check_quota(call, limits.get("cpu", "1"), limits.get("memory", "512Mi"), instances)
    for interface in text(template, "vpcAccess", "networkInterfaces") or ():
        compute.check_interface(call, interface)


def check_limits(container: Json, concurrency: int) -> None:
    """Refuse a container's limits that Cloud Run does not offer."""
    limits = text(container, "resources", "limits") or {}
    check_size(limits.get("cpu", "1"), limits.get("memory", "512Mi"), concurrency)


def check_quota(call: Call, cpu: str, memory: str, instances: int) -> None:
    """Refuse more instances than the region's quota has room for.

    The message is Cloud Run's, from googlecodelabs/feedback, issues 1856 and 2311.
    """
    quotas = (
        ("CPU", "CpuAllocPerProjectRegion", vcpus(cpu) * 1000, call.project.vcpus * 1000),
        (
            "memory",
            "MemAllocPerProjectRegion",
            megabytes(memory) * 2**20,
            call.project.memory_gib * 2**30,
        ),
    )
    for what, name, each, allowed in quotas:
        require(
            each * instances <= allowed,
            f"Max instances must be set to {int(allowed // each)} or fewer to set the requested"
            f" total {what}. Quota violated: {name} requested: {each * instances:.0f}"
            f" allowed: {allowed}",
        )


def _check_volume(call: Call, volume: Json, email: str) -> None:
    bucket = text(volume, "gcs", "bucket")
    if bucket and bucket_name(bucket) not in call.world.resources:
        raise not_found(f"Bucket {bucket}")
    secret = volume.get("secret") or {}
    for item in secret.get("items", [{}] if secret else []):
        check_secret(call, secret["secret"], item.get("version", "latest"), email)


def _check_container(call: Call, container: Json, email: str, volumes: Json) -> None:
    artifactregistry.check_image(call.world, container["image"])
    variables = container.get("env", [])
    secret = [one for one in variables if one.get("valueSource")]
    plain = [one["name"] for one in variables if one not in secret]
    check_names(plain, [one["name"] for one in secret])
    for one in secret:
        reference = one["valueSource"]["secretKeyRef"]
        check_secret(call, reference["secret"], reference.get("version", "latest"), email)
    for mount in container.get("volumeMounts", ()):
        require(mount["name"] in volumes, f"No volume named {mount['name']}.")
    for probe in (container.get("startupProbe"), container.get("livenessProbe")):
        _check_probe(probe or {})


def _check_probe(probe: Json) -> None:
    period, timeout = probe.get("periodSeconds", 10), probe.get("timeoutSeconds", 1)
    require(timeout <= period, "A probe's timeout is longer than its period.")
    require(1 <= period <= 3600, "A probe's period is 1 to 3600 seconds.")


def check_secret(call: Call, secret: str, version: str, email: str) -> None:
    """Refuse a secret's version that is not there, or that the account cannot read."""
    secretmanager.check_readable(call.world, call.project.id, secret, version, email)
