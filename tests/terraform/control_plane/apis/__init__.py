"""The APIs by the first element of their paths, and the provider's settings for them."""

from __future__ import annotations

from tests.terraform.control_plane.apis import (
    artifactregistry,
    billing,
    cloudfunctions,
    compute,
    firestore,
    iam,
    iap,
    kms,
    logging,
    monitoring,
    pubsub,
    resourcemanager,
    run,
    scheduler,
    secretmanager,
    serviceusage,
    storage,
)

APIS = {
    api.prefix: api
    for api in (
        artifactregistry.API,
        billing.ACCOUNTS,
        billing.BUDGETS,
        cloudfunctions.API,
        compute.API,
        firestore.API,
        iam.API,
        iap.API,
        kms.API,
        logging.API,
        monitoring.API,
        pubsub.API,
        resourcemanager.API,
        run.API,
        scheduler.API,
        secretmanager.API,
        serviceusage.API,
        storage.API,
        storage.UPLOADS,
    )
}

#: The provider's setting to the path, below the fake's address, that it is to have.
ENDPOINTS = {
    "artifact_registry_custom_endpoint": "artifactregistry/v1/",
    "billing_budgets_custom_endpoint": "billingbudgets/v1/",
    "cloud_billing_custom_endpoint": "cloudbilling/v1/",
    "cloud_run_v2_custom_endpoint": "run/v2/",
    "cloud_scheduler_custom_endpoint": "cloudscheduler/v1/",
    "cloudfunctions2_custom_endpoint": "cloudfunctions/v2/",
    "compute_custom_endpoint": "compute/compute/v1/",
    "firestore_custom_endpoint": "firestore/v1/",
    "iam_beta_custom_endpoint": "iam/v1/",
    "iap_custom_endpoint": "iap/v1/",
    "kms_custom_endpoint": "cloudkms/v1/",
    "logging_custom_endpoint": "logging/v2/",
    "monitoring_custom_endpoint": "monitoring/",
    "pubsub_custom_endpoint": "pubsub/v1/",
    "resource_manager_custom_endpoint": "cloudresourcemanager/v1/",
    "resource_manager_v3_custom_endpoint": "cloudresourcemanager/v3/",
    "secret_manager_custom_endpoint": "secretmanager/v1/",
    "service_usage_custom_endpoint": "serviceusage/v1/",
    "storage_custom_endpoint": "storage/storage/v1/",
}
