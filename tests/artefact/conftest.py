"""The environment in which every artefact runs, with its emulators."""

from __future__ import annotations

import pytest

from tests.artefact import deployed


@pytest.fixture(scope="session")
def on_emulators(
    firestore_emulator: str, pubsub_emulator: str, gcs_emulator: str
) -> dict[str, str]:
    """The environment of a first deployment, whose Google is the emulators."""
    return deployed.first_deployment(
        FIRESTORE_EMULATOR_HOST=firestore_emulator,
        PUBSUB_EMULATOR_HOST=pubsub_emulator,
        STORAGE_EMULATOR_HOST=gcs_emulator,
    )
