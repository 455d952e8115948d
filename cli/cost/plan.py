"""What a month brings, and what one recording costs in seconds, reads, writes and bytes.

Seconds are what ``benchmarks/`` print; numbers of reads, writes and operations are those of
the code, and ``tests/unit/cli/cost/test_usage.py`` counts them; the rest are estimates, which
``docs/cost.md`` names as such.
"""

from __future__ import annotations

from dataclasses import dataclass

DAYS = 365 / 12  # of a month
GIB = 2**30

#: vCPUs and GiB of each part; the same numbers stand in infra/terraform.
EXTRACT = (4, 4.0)
COMPRESS = (2, 2.0)
FUNCTION = (1, 0.5)
NEARLINE_AFTER_DAYS = 30
COLDLINE_AFTER_DAYS = 90
LOG_DAYS = 90
PUSH_LIMIT_S = 540
SCHEDULES = 3
CALLS_A_DAY = {"requeue": 1440, "maintain": 96, "nightly": 1}

#: Seconds for an hour of recording on two processors, by benchmarks.extract, and for an hour of
#: sound on an SFTP server, by benchmarks.compress. Four vCPUs are taken for no faster.
ENCODE_S = {"mp3": 17.8, "copy": 1.4, "opus": 24.7, "whisper": 7.5}
COMPRESS_S = 12.3
#: Work while reading, against the slower of the two alone: the limit of benchmarks.drive_2gb is
#: 1.25, and this is what it prints.
READING_FACTOR = 1.10
#: What is made of the same recording, in bits a second, with AUDIO_BITRATE at its default.
BITS_PER_S = {"mp3": 128_000, "copy": 131_600, "opus": 146_400, "whisper": 189_400}

#: Firestore and Cloud Storage, for a recording that succeeds at once, without heartbeats.
READS_EACH, WRITES_EACH = 2, 7
CLASS_A_EACH, CLASS_B_EACH = 5, 4
HEARTBEAT_S = 20
REQUEUE_QUERIES = 11  # one read each, though they find nothing
FEED_READS = {"requeue": 3, "maintain": 10, "notify": 4}
FEED_WRITES = {"requeue": 0, "maintain": 3, "notify": 3}

#: Estimates.
START_S = 5.0  # an instance's start; its imports are 0.6 s at most, by benchmarks.cold_start
NOTIFICATIONS_A_DAY = 200  # of one watched Drive: it tells of any change in it
NOTIFY_S, REQUEUE_S, MAINTAIN_S, NIGHTLY_S = 0.5, 0.5, 3.0, 30.0
DRIVE_S = {"requeue": 0.05, "maintain": 0.5}  # for each watched Drive; eight at a time
DOCUMENT_BYTES = 10_000  # with its entries in the indexes
SIDE_BYTES = 10_000  # the waveform's picture
LOG_BYTES = 4_000  # of a recording, in the bucket
LOGGED_BYTES = {"call": 2_000, "recording": 20_000}
IMAGES_GIB = 3.5  # 20 versions of the service's image, and one of each function
METRICS_MIB = 15  # ten counters and three distributions, 8 and 80 bytes a minute each
MESSAGE_BYTES = 1000  # Pub/Sub counts no request as less
ALERT_METRICS = 16  # that the queries of all alerts name
ALERT_EVERY_S = 60
WAV_BYTES_PER_H = 48_000 * 2 * 2 * 3600
COMPRESSED_BITS_PER_S = 32_000


PRESETS = tuple(ENCODE_S)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a month brings. ``bits_per_s`` 0 stands for what the preset makes.

    ``drives`` are the users and shared drives that are watched, ``gb_per_hour`` the size of
    an hour of video, in units of 10⁹ bytes, and ``mb_per_s`` how fast it arrives.
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
        """How many recordings, and as many messages."""
        return self.hours * 60 / self.meeting_minutes

    @property
    def files(self) -> float:
        """How many files on the SFTP server."""
        return self.sftp_hours * 60 / self.meeting_minutes

    @property
    def audio_bits(self) -> int:
        """Bits a second of what is made."""
        return self.bits_per_s or BITS_PER_S[self.preset]

    @property
    def audio_gib(self) -> float:
        """How much audio is made of recordings."""
        return self.hours * 3600 * self.audio_bits / 8 / GIB

    @property
    def compressed_gib(self) -> float:
        """How much audio is made of the SFTP server's files."""
        return self.sftp_hours * 3600 * COMPRESSED_BITS_PER_S / 8 / GIB

    @property
    def work_s(self) -> float:
        """Seconds that one recording takes: reading and encoding go on side by side."""
        hours = self.meeting_minutes / 60
        reading = hours * self.gb_per_hour * 1000 / self.mb_per_s
        return START_S + READING_FACTOR * max(reading, hours * ENCODE_S[self.preset])

    @property
    def compress_s(self) -> float:
        """Seconds that one file of the SFTP server takes, likewise."""
        hours = self.meeting_minutes / 60
        reading = hours * WAV_BYTES_PER_H / 1e6 / self.mb_per_s
        return START_S + READING_FACTOR * max(reading, hours * COMPRESS_S)

    @property
    def needs_job(self) -> bool:
        """Whether a recording outlasts a push, so that the job does it again from its start."""
        return self.work_s > PUSH_LIMIT_S
