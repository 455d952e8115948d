"""Predefined roles that exist, and on which kinds of resources each can be granted.

From "IAM basic and predefined roles reference"; an unknown name is refused, as it is in reality.
"""

from __future__ import annotations

#: Kinds of resources, as full names start: what follows the service up to an id.
PROJECT, BUCKET, ACCOUNT, SECRET = "project", "bucket", "account", "secret"
TOPIC, SUBSCRIPTION, REPOSITORY = "topic", "subscription", "repository"
FUNCTION, SERVICE, JOB, KEY = "function", "service", "job", "key"
IAP_SERVICE = "iap service"

_ON = {
    (PROJECT,): [
        "browser",
        "editor",
        "owner",
        "viewer",
        "cloudbuild.builds.builder",
        "cloudbuild.builds.editor",
        "cloudscheduler.admin",
        "cloudscheduler.viewer",
        "cloudtrace.agent",
        "compute.networkUser",
        "datastore.importExportAdmin",
        "datastore.indexAdmin",
        "datastore.owner",
        "datastore.user",
        "datastore.viewer",
        "eventarc.eventReceiver",
        "iam.securityAdmin",
        "logging.admin",
        "logging.logWriter",
        "logging.viewer",
        "monitoring.editor",
        "monitoring.metricWriter",
        "monitoring.viewer",
        "serviceusage.serviceUsageAdmin",
        "serviceusage.serviceUsageConsumer",
    ],
    (PROJECT, BUCKET): [
        "storage.admin",
        "storage.bucketViewer",
        "storage.objectAdmin",
        "storage.objectCreator",
        "storage.objectUser",
        "storage.objectViewer",
    ],
    (BUCKET,): [
        "storage.legacyBucketOwner",
        "storage.legacyBucketReader",
        "storage.legacyBucketWriter",
        "storage.legacyObjectOwner",
        "storage.legacyObjectReader",
    ],
    (PROJECT, ACCOUNT): [
        "iam.serviceAccountAdmin",
        "iam.serviceAccountOpenIdTokenCreator",
        "iam.serviceAccountTokenCreator",
        "iam.serviceAccountUser",
        "iam.workloadIdentityUser",
    ],
    (PROJECT, SECRET): [
        "secretmanager.admin",
        "secretmanager.secretAccessor",
        "secretmanager.secretVersionAdder",
        "secretmanager.secretVersionManager",
        "secretmanager.viewer",
    ],
    (PROJECT, TOPIC): ["pubsub.publisher"],
    (PROJECT, TOPIC, SUBSCRIPTION): [
        "pubsub.admin",
        "pubsub.editor",
        "pubsub.subscriber",
        "pubsub.viewer",
    ],
    (PROJECT, REPOSITORY): [
        "artifactregistry.admin",
        "artifactregistry.reader",
        "artifactregistry.repoAdmin",
        "artifactregistry.writer",
    ],
    (PROJECT, FUNCTION): [
        "cloudfunctions.admin",
        "cloudfunctions.developer",
        "cloudfunctions.invoker",
        "cloudfunctions.viewer",
    ],
    (PROJECT, SERVICE, JOB): [
        "run.admin",
        "run.developer",
        "run.invoker",
        "run.viewer",
    ],
    (PROJECT, SERVICE): ["run.servicesInvoker"],
    (PROJECT, IAP_SERVICE): ["iap.httpsResourceAccessor"],
    (PROJECT, JOB): ["run.jobsExecutor", "run.jobsExecutorWithOverrides"],
    (PROJECT, KEY): [
        "cloudkms.admin",
        "cloudkms.cryptoKeyDecrypter",
        "cloudkms.cryptoKeyEncrypter",
        "cloudkms.cryptoKeyEncrypterDecrypter",
        "cloudkms.viewer",
    ],
}

#: Role to the kinds of resources that it can be granted on.
GRANTABLE = {f"roles/{name}": kinds for kinds, names in _ON.items() for name in names}

PRIMITIVE = frozenset({"roles/owner", "roles/editor", "roles/viewer"})

READ_SECRET = frozenset(
    {"roles/secretmanager.admin", "roles/secretmanager.secretAccessor", "roles/owner"}
)
READ_OBJECTS = frozenset(
    {
        "roles/cloudbuild.builds.builder",
        "roles/storage.admin",
        "roles/storage.objectAdmin",
        "roles/storage.objectUser",
        "roles/storage.objectViewer",
    }
)
WRITE_LOGS = frozenset(
    {
        "roles/cloudbuild.builds.builder",
        "roles/logging.admin",
        "roles/logging.logWriter",
        "roles/editor",
        "roles/owner",
    }
)
WRITE_IMAGES = frozenset(
    {
        "roles/artifactregistry.admin",
        "roles/artifactregistry.repoAdmin",
        "roles/artifactregistry.writer",
        "roles/cloudbuild.builds.builder",
        "roles/editor",
        "roles/owner",
    }
)
INVOKE = frozenset(
    {"roles/run.admin", "roles/run.developer", "roles/run.invoker", "roles/run.servicesInvoker"}
)
#: Roles with iam.serviceAccounts.getOpenIdToken.
SIGN_TOKENS = frozenset(
    {"roles/iam.serviceAccountOpenIdTokenCreator", "roles/iam.serviceAccountTokenCreator"}
)
USE_KEY = frozenset({"roles/cloudkms.cryptoKeyEncrypterDecrypter"})
