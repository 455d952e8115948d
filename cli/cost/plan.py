"""A month's workload, and the seconds, reads, writes and bytes of one recording.

Seconds come from ``benchmarks/``. Reads, writes and operations are those of the code;
``tests/unit/cli/cost/test_usage.py`` counts them. The rest are estimates, which
``docs/cost.md`` lists.
"""

from __future__ import annotations

from dataclasses import dataclass

DAYS = 365 / 12  # of a month
GIB = 2**30

#: vCPUs and GiB of each part, as in infra/terraform.
EXTRACT = (1, 4.0)
COMPRESS = (1, 2.0)
FUNCTION = (1, 0.5)
NEARLINE_AFTER_DAYS = 30
COLDLINE_AFTER_DAYS = 90
LOG_DAYS = 90
PUSH_LIMIT_S = 540
SCHEDULES = 3
CALLS_A_DAY = {"requeue": 1440, "maintain": 96, "nightly": 1}

#: Processor seconds for an hour of recording (benchmarks.extract), and for an hour of audio on an
#: SFTP server (benchmarks.compress), each on one processor.
ENCODE_S = {"mp3": 34.4, "copy": 2.1, "opus": 33.9, "whisper": 7.3}
COMPRESS_S = 13.1
#: Encoding while reading takes this factor of the slower of the two (benchmarks.drive_2gb).
READING_FACTOR = 1.10
#: Bits per second of the audio that each preset makes, with the default AUDIO_BITRATE.
BITS_PER_S = {"mp3": 128_000, "copy": 131_600, "opus": 146_400, "whisper": 189_400}

#: Firestore and Cloud Storage operations of a recording that succeeds the first time, without
#: heartbeats.
READS_EACH, WRITES_EACH = 2, 7
CLASS_A_EACH, CLASS_B_EACH = 5, 6
HEARTBEAT_S = 20
REQUEUE_QUERIES = 11  # one billed read each, even when they find nothing
FEED_READS = {"requeue": 3, "maintain": 10, "notify": 4}
FEED_WRITES = {"requeue": 0, "maintain": 3, "notify": 3}

#: Estimates.
START_S = 5.0  # an instance's start; its imports are 0.6 s at most, by benchmarks.cold_start
NOTIFICATIONS_A_DAY = 200  # of one watched Drive, for changes of any kind
NOTIFY_S, REQUEUE_S, MAINTAIN_S, NIGHTLY_S = 0.5, 0.5, 3.0, 30.0
DRIVE_S = {"requeue": 0.05, "maintain": 0.5}  # for each watched Drive; eight at a time
DOCUMENT_BYTES = 10_000  # with its entries in the indexes
SIDE_BYTES = 10_000  # the waveform's picture
LOG_BYTES = 4_000  # of a recording, in the bucket
LOGGED_BYTES = {"call": 2_000, "recording": 20_000}
#: 20 versions of each image, and a build of each function. Compressed, the extraction's image has
#: about 142 MiB and the web services' 77, of which 45 are the base image.
IMAGES_GIB = 5.0
METRICS_MIB = 15  # ten counters and three distributions, 8 and 80 bytes a minute each
MESSAGE_BYTES = 1000  # the least that Pub/Sub bills for a request
ALERT_METRICS = 16  # metrics in the queries of all alerts
ALERT_EVERY_S = 60
WAV_BYTES_PER_H = 48_000 * 2 * 2 * 3600
COMPRESSED_BITS_PER_S = 32_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A month's workload. ``bits_per_s`` 0 means the preset's own bit rate.

    ``drives`` counts watched users and shared drives, ``gb_per_hour`` is the size of an hour
    of video in units of 10⁹ bytes, and ``mb_per_s`` the download speed.
    """

    hours: float
    meeting_minutes: float = 50
    sftp_hours: float = 0
    preset: str = "mp3"
    bits_per_s: int = 0
    drives: int = 1
    gb_per_hour: float = 2
    mb_per_s: float = 40
    mirror: bool = False
    static_ip: bool = False

    @property
    def recordings(self) -> float:
        """Number of recordings, and of messages."""
        return self.hours * 60 / self.meeting_minutes

    @property
    def files(self) -> float:
        """Number of files on the SFTP server."""
        return self.sftp_hours * 60 / self.meeting_minutes

    @property
    def audio_bits(self) -> int:
        """Bits per second of the audio."""
        return self.bits_per_s or BITS_PER_S[self.preset]

    @property
    def audio_gib(self) -> float:
        """GiB of audio from recordings."""
        return self.hours * 3600 * self.audio_bits / 8 / GIB

    @property
    def compressed_gib(self) -> float:
        """GiB of audio from files on the SFTP server."""
        return self.sftp_hours * 3600 * COMPRESSED_BITS_PER_S / 8 / GIB

    @property
    def work_s(self) -> float:
        """Seconds of work for one recording; reading and encoding overlap."""
        hours = self.meeting_minutes / 60
        reading = hours * self.gb_per_hour * 1000 / self.mb_per_s
        return START_S + READING_FACTOR * max(reading, hours * ENCODE_S[self.preset])

    @property
    def compress_s(self) -> float:
        """Seconds of work for one file on the SFTP server."""
        hours = self.meeting_minutes / 60
        reading = hours * WAV_BYTES_PER_H / 1e6 / self.mb_per_s
        return START_S + READING_FACTOR * max(reading, hours * COMPRESS_S)

    @property
    def needs_job(self) -> bool:
        """Whether a recording takes longer than a push may, so that the job starts it again."""
        return self.work_s > PUSH_LIMIT_S
