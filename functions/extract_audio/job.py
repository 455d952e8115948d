"""The Cloud Run job for what outlasts a push: the same worker, for one key, up to 12 hours."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

from functions.extract_audio.assembly import build_worker
from shared.bootstrap import Services
from shared.core.errors import ConfigurationError
from shared.core.message import Source
from shared.runtime import logging as pipeline_logging
from shared.runtime import shutdown
from shared.tracking.lease import RunOptions

log = logging.getLogger(__name__)

#: The variable that names the recording; set for one execution when the job is started.
KEY_VARIABLE = "RECORDING_KEY"


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Extract the recording that ``RECORDING_KEY`` names; returns the exit status.

    1 makes Cloud Run retry the task; 2 means that a retry cannot help.
    """
    try:
        services = Services.from_environment(environ)
    except ConfigurationError as error:
        print(f"extract_audio cannot start:\n{error}", file=sys.stderr)
        return 2
    pipeline_logging.setup(services.settings)
    shutdown.listen()
    try:
        key = environ.get(KEY_VARIABLE, "")
        # Keys are safe as document ids, so a key with a slash does not exist.
        recording = services.tracker.get(key) if key and "/" not in key else None
        if recording is None:
            log.error("%s names no recording", KEY_VARIABLE, extra={"key": key})
            return 2
        result = build_worker(services, Source.DRIVE).process(
            recording.to_source_file(),
            RunOptions(runner="job", cancelled=shutdown.requested.is_set),
        )
    except Exception:
        log.exception("the job failed")
        return 1
    if not result.outcome.ends:
        left = result.recording or recording
        log.info("recording %s", result.outcome.name.lower(), extra=left.log_context())
    return 0 if result.outcome.acknowledges else 1


if __name__ == "__main__":
    sys.exit(main())
