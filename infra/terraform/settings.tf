# Settings of the programs: each variable becomes the environment variable of its name in
# docs/settings.md. An empty one leaves the program's default.

variable "audio_bitrate" {
  description = "Bit rate for mp3 and opus, such as 128k."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]+k)?$", var.audio_bitrate))
    error_message = "audio_bitrate must be kilobits per second, such as 128k."
  }
}

variable "audio_preset" {
  description = "Output format of recordings: mp3, copy, opus or whisper."
  type        = string
  default     = "mp3"

  validation {
    condition     = contains(["mp3", "copy", "opus", "whisper"], var.audio_preset)
    error_message = "audio_preset must be mp3, copy, opus or whisper."
  }
}

variable "backfill_since" {
  description = "Skip recordings before this date (YYYY-MM-DD); empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9]{4}-[0-9]{2}-[0-9]{2})?$", var.backfill_since))
    error_message = "backfill_since must be a date, YYYY-MM-DD."
  }
}

variable "channel_ttl_hours" {
  description = "Lifetime of a Drive watch channel, in hours."
  type        = number
  default     = 168

  validation {
    condition     = var.channel_ttl_hours >= 1 && var.channel_ttl_hours <= 168
    error_message = "channel_ttl_hours must be from 1 to 168: Drive keeps a channel for at most a week."
  }
}

variable "chunk_max_mb" {
  description = "Also write chunks no larger than this, in megabytes; 0 for none."
  type        = number
  default     = 0

  validation {
    condition     = var.chunk_max_mb >= 0
    error_message = "chunk_max_mb must be 0 or more."
  }
}

variable "drive_folder_ids" {
  description = "Watch only these Drive folders and everything below them; empty for all that can be read."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.drive_folder_ids : can(regex("^[A-Za-z0-9_-]+$", id))])
    error_message = "drive_folder_ids must be ids: the last part of a folder's URL, not the URL."
  }
}

variable "drive_ids" {
  description = "Ids of shared drives to watch as well."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.drive_ids : can(regex("^[A-Za-z0-9_-]+$", id))])
    error_message = "drive_ids must be ids of shared drives."
  }
}

variable "drive_subjects" {
  description = "Users to read Drive as, by domain-wide delegation; empty for what is shared with the reader."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for user in var.drive_subjects : can(regex("^[^@,[:space:]]+@[^@,[:space:]]+$", user))])
    error_message = "drive_subjects must be e-mail addresses."
  }
}

variable "encode_workers" {
  description = "Parallel encoders in one extraction; 0 for one per CPU."
  type        = number
  default     = 0

  validation {
    condition     = var.encode_workers >= 0 && var.encode_workers <= 256
    error_message = "encode_workers must be from 0 to 256."
  }
}

variable "lease_seconds" {
  description = "Lease of a recording, in seconds: how long a worker that stopped responding keeps it."
  type        = number
  default     = 60

  validation {
    condition     = var.lease_seconds >= 10 && var.lease_seconds <= 3600
    error_message = "lease_seconds must be from 10 to 3600."
  }
}

variable "max_duration_hours" {
  description = "Longer recordings fail with too_long."
  type        = number
  default     = 12

  validation {
    condition     = var.max_duration_hours > 0 && var.max_duration_hours <= 1000
    error_message = "max_duration_hours must be more than 0 and at most 1000."
  }
}

variable "push_limit_seconds" {
  description = "How long a push may take before the job takes over, in seconds; Pub/Sub waits for 600."
  type        = number
  default     = 540

  validation {
    condition     = var.push_limit_seconds >= 30 && var.push_limit_seconds <= 570
    error_message = "push_limit_seconds must be from 30 to 570; the rest of the 600 is needed to hand over."
  }
}

variable "sftp_bitrate" {
  description = "BITRATE of compressed files, such as 32k."
  type        = string
  default     = "32k"

  validation {
    condition     = can(regex("^[0-9]+k$", var.sftp_bitrate))
    error_message = "sftp_bitrate must be kilobits per second, such as 32k."
  }
}

variable "sftp_channels" {
  description = "CHANNELS of compressed files: 1 or 2."
  type        = number
  default     = 1

  validation {
    condition     = contains([1, 2], var.sftp_channels)
    error_message = "sftp_channels must be 1 or 2."
  }
}

variable "sftp_host" {
  description = "The SFTP server; empty leaves the nightly schedule paused."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[A-Za-z0-9.:-]*$", var.sftp_host))
    error_message = "sftp_host must be a host name or address, without sftp:// and without a path."
  }
}

variable "sftp_mirror_path" {
  description = "Directory on the SFTP server that gets a copy of the compressed files; empty for none."
  type        = string
  default     = ""
}

variable "sftp_output_dir" {
  description = "OUTPUT_DIR: directory of compressed files in the bucket, below the environment."
  type        = string
  default     = "compressed"
}

variable "sftp_output_format" {
  description = "OUTPUT_FORMAT of compressed files: wav (contains MP3), mp3, opus, flac or pcm."
  type        = string
  default     = "wav"

  validation {
    condition     = contains(["wav", "mp3", "opus", "flac", "pcm"], var.sftp_output_format)
    error_message = "sftp_output_format must be wav, mp3, opus, flac or pcm."
  }
}

variable "sftp_port" {
  description = "Port of the SFTP server."
  type        = number
  default     = 22

  validation {
    condition     = var.sftp_port >= 1 && var.sftp_port <= 65535
    error_message = "sftp_port must be from 1 to 65535."
  }
}

variable "sftp_remote_path" {
  description = "Directory on the SFTP server to compress."
  type        = string
  default     = "/audio"
}

variable "sftp_sample_rate" {
  description = "SAMPLE_RATE of compressed files in Hz."
  type        = number
  default     = 16000

  validation {
    condition     = var.sftp_sample_rate >= 8000 && var.sftp_sample_rate <= 192000
    error_message = "sftp_sample_rate must be from 8000 to 192000 Hz."
  }
}

variable "sftp_settle_minutes" {
  description = "Files changed within this many minutes wait for the next night."
  type        = number
  default     = 10

  validation {
    condition     = var.sftp_settle_minutes >= 0 && var.sftp_settle_minutes <= 10080
    error_message = "sftp_settle_minutes must be from 0 to 10080."
  }
}

locals {
  mount_path = "/mnt/audio"

  env_common = {
    LEASE_SECONDS        = tostring(var.lease_seconds)
    PIPELINE_ENV         = var.environment
    RECORDINGS_QUEUE_URL = "pubsub://${var.project_id}/${google_pubsub_topic.topic["recordings"].name}"
    SFTP_QUEUE_URL       = "pubsub://${var.project_id}/${google_pubsub_topic.topic["sftp-files"].name}"
    STORAGE_URL          = "gs://${google_storage_bucket.audio.name}"
    TRACKER_URL          = "firestore://${var.project_id}/${google_firestore_database.tracker.name}"
  }
  env_drive = {
    BACKFILL_SINCE        = var.backfill_since
    DRIVE_FOLDER_IDS      = join(",", var.drive_folder_ids)
    DRIVE_IDS             = join(",", var.drive_ids)
    DRIVE_SERVICE_ACCOUNT = google_service_account.component["drive-reader"].email
    DRIVE_SUBJECTS        = join(",", var.drive_subjects)
  }
  env_media = {
    AUDIO_BITRATE      = var.audio_bitrate
    AUDIO_PRESET       = var.audio_preset
    CHUNK_MAX_MB       = tostring(var.chunk_max_mb)
    ENCODE_WORKERS     = var.encode_workers == 0 ? "" : tostring(var.encode_workers)
    MAX_DURATION_HOURS = tostring(var.max_duration_hours)
    STORAGE_URL        = var.mount_bucket ? local.mount_path : "gs://${google_storage_bucket.audio.name}"
  }
  env_results = {
    RESULTS_QUEUE_URL = "pubsub://${var.project_id}/${google_pubsub_topic.topic["results"].name}"
  }
  env_sftp = {
    BITRATE             = var.sftp_bitrate
    CHANNELS            = tostring(var.sftp_channels)
    MAX_DURATION_HOURS  = tostring(var.max_duration_hours)
    OUTPUT_DIR          = var.sftp_output_dir
    OUTPUT_FORMAT       = var.sftp_output_format
    PUSH_LIMIT_SECONDS  = tostring(var.push_limit_seconds)
    SAMPLE_RATE         = tostring(var.sftp_sample_rate)
    SFTP_HOST           = var.sftp_host
    SFTP_MIRROR_PATH    = var.sftp_mirror_path
    SFTP_PORT           = tostring(var.sftp_port)
    SFTP_REMOTE_PATH    = var.sftp_remote_path
    SFTP_SETTLE_MINUTES = tostring(var.sftp_settle_minutes)
  }
  env_webhook = {
    WATCH_LIMIT_SECONDS = "50" # well before Drive stops waiting for an answer
  }
  env_sweep = {
    CHANNEL_TTL_HOURS   = tostring(var.channel_ttl_hours)
    WATCH_LIMIT_SECONDS = "840" # before the next one starts, after 15 minutes
  }

  # Cloud Functions sets it to true, and functions-framework then adds a log handler of its own: each
  # line twice, once without severity and without redaction.
  # Source: functions_framework/__init__.py, _configure_app_execution_id_logging
  env_function = { LOG_EXECUTION_ID = "false" }

  # An empty variable counts as not set, and would only be noise in the console.
  env_dashboard = { for name, value in merge(local.env_common, local.env_drive, { SFTP_HOST = var.sftp_host }) : name => value if value != "" }
  env_notify    = { for name, value in merge(local.env_common, local.env_drive, local.env_webhook) : name => value if value != "" }
  env_maintain  = { for name, value in merge(local.env_common, local.env_drive, local.env_results, local.env_sweep) : name => value if value != "" }
  env_extract   = { for name, value in merge(local.env_common, local.env_drive, local.env_media, local.env_results) : name => value if value != "" }
  env_compress  = { for name, value in merge(local.env_common, local.env_results, local.env_sftp) : name => value if value != "" }
}
