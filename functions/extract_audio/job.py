"""The Cloud Run job for what outlasts a push: the same worker, for one key, up to 12 hours."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from functions.extract_audio.worker import Worker
from shared import logging as pipeline_logging
from shared import shutdown
from shared.bootstrap import Services
from shared.events import Source
from shared.lease import Outcome

log = logging.getLogger(__name__)

#: The variable that names the recording; set for one execution by who starts the job.
KEY_VARIABLE = "RECORDING_KEY"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Extract the recording that ``RECORDING_KEY`` names; returns the exit status.

    1 asks Cloud Run to try the task again.
    """
    services = Services.from_environment(environ)
    pipeline_logging.setup(services.settings)
    shutdown.listen()
    recording = services.tracker.get(environ.get(KEY_VARIABLE, ""))
    if recording is None:
        log.error("no recording of the key that %s names", KEY_VARIABLE)
        return 2
    worker = Worker(
        tracker=services.tracker,
        storage=services.storage,
        sources={Source.DRIVE: services.drive_sources},
        settings=services.settings,
    )
    result = worker.process(
        recording.to_source_file(), runner="job", cancelled=shutdown.requested.is_set
    )
    ended = result.recording or recording
    log.info("recording %s", result.outcome.name.lower(), extra=ended.log_context())
    return 1 if result.outcome in (Outcome.RETRY, Outcome.CANCELLED) else 0


if __name__ == "__main__":
    sys.exit(main())
