# What is built, and how big. What the programs are told is in settings.tf.

variable "audit_data_access" {
  description = "Log who reads and writes data in Cloud Storage, Firestore and Secret Manager. It costs by volume."
  type        = bool
  default     = false
}

variable "autoclass" {
  description = "Let Cloud Storage choose each object's class by its use, in place of ages in days."
  type        = bool
  default     = false
}

variable "billing_account" {
  description = "Billing account of the budget alert (ABCDEF-123456-ABCDEF); empty for no budget."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6})?$", var.billing_account))
    error_message = "billing_account is an id such as 012345-6789AB-CDEF01, without billingAccounts/ before it; or empty."
  }
}

variable "bucket_versioning" {
  description = "Keep replaced and deleted objects as versions, for 30 days."
  type        = bool
  default     = false
}

variable "coldline_after_days" {
  description = "Age in days at which audio moves to Coldline; 0 for never."
  type        = number
  default     = 90

  validation {
    condition     = var.coldline_after_days >= 0 && floor(var.coldline_after_days) == var.coldline_after_days
    error_message = "coldline_after_days is a whole number of days, 0 for never."
  }
}

variable "compress_max_instances" {
  description = "Files that are compressed side by side; each holds one connection to the SFTP server."
  type        = number
  default     = 4

  validation {
    condition     = var.compress_max_instances >= 1 && var.compress_max_instances <= 100
    error_message = "compress_max_instances is 1 to 100."
  }
}

variable "egress_subnetwork" {
  description = "Subnetwork of your own for the way to the SFTP server (projects/P/regions/R/subnetworks/S); empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/regions/[^/]+/subnetworks/[^/]+)?$", var.egress_subnetwork))
    error_message = "egress_subnetwork is projects/PROJECT/regions/REGION/subnetworks/NAME, or empty."
  }

  validation {
    condition     = var.egress_subnetwork == "" || !var.static_egress_ip
    error_message = "Set either egress_subnetwork or static_egress_ip: a network of your own has its own address."
  }
}

variable "environment" {
  description = "dev, staging or prod: the first part of every object's name. Each has a project of its own."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "extract_max_instances" {
  description = "Recordings that are extracted side by side."
  type        = number
  default     = 10

  validation {
    condition     = var.extract_max_instances >= 1 && var.extract_max_instances <= 1000
    error_message = "extract_max_instances is 1 to 1000."
  }
}

variable "extract_memory" {
  description = "Memory of one extraction, of which files in /tmp are a part: the audio that is made must fit."
  type        = string
  default     = "4Gi"

  validation {
    condition     = can(regex("^([2-9]|1[0-6])Gi$", var.extract_memory))
    error_message = "extract_memory is 2Gi to 16Gi: 4 vCPU need at least 2Gi, and get at most 16Gi."
  }
}

variable "firestore_location" {
  description = "Where the records are; empty for the region. It can never be changed."
  type        = string
  default     = ""
}

variable "image" {
  description = "The image of extract_audio by digest, NAME@sha256:…; empty before the first one is pushed."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9.:/_-]*@sha256:[0-9a-f]{64})?$", var.image))
    error_message = "image is NAME@sha256:DIGEST, since a tag may name another image tomorrow; or empty."
  }
}

variable "kms_key_name" {
  description = "Key of yours that encrypts everything at rest (projects/P/locations/L/keyRings/R/cryptoKeys/K); empty for Google's."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)?$", var.kms_key_name))
    error_message = "kms_key_name is projects/P/locations/L/keyRings/R/cryptoKeys/K, or empty."
  }
}

variable "log_retention_days" {
  description = "Age in days at which processing logs in the bucket are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days is at least 1."
  }
}

variable "mount_bucket" {
  description = "Mount the bucket as a directory in extract_audio (Cloud Storage FUSE), in place of its API."
  type        = bool
  default     = false
}

variable "nearline_after_days" {
  description = "Age in days at which audio moves to Nearline; 0 for never."
  type        = number
  default     = 30

  validation {
    condition     = var.nearline_after_days >= 0 && floor(var.nearline_after_days) == var.nearline_after_days
    error_message = "nearline_after_days is a whole number of days, 0 for never."
  }
}

variable "nightly_schedule" {
  description = "When the SFTP server is looked at, as a cron line in time_zone."
  type        = string
  default     = "0 2 * * *"

  validation {
    condition     = length(split(" ", trimspace(var.nightly_schedule))) == 5
    error_message = "nightly_schedule is a cron line of five fields, such as 0 2 * * *."
  }
}

variable "project_id" {
  description = "The Google Cloud project, which exists and has billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project, not its name or number: 6 to 30 of a-z, 0-9 and -."
  }
}

variable "protected" {
  description = "Refuse to destroy: null for what the environment says, which is true for prod alone."
  type        = bool
  default     = null
}

variable "region" {
  description = "Where everything runs and is stored, such as europe-west1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as europe-west1, not a zone."
  }
}

variable "soft_delete_days" {
  description = "Days for which deleted audio can be restored; 0, or 7 to 90."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    error_message = "soft_delete_days is 0, or 7 to 90."
  }
}

variable "static_egress_ip" {
  description = "Reach the SFTP server from one fixed address, for its list of allowed ones."
  type        = bool
  default     = false
}

variable "time_zone" {
  description = "Time zone of nightly_schedule, such as Europe/Berlin."
  type        = string
  default     = "Etc/UTC"

  validation {
    condition     = can(regex("^[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]+){0,2}$", var.time_zone))
    error_message = "time_zone is a name of the tz database, such as Europe/Berlin."
  }
}
