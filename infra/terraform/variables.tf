# What is created, and its size. The settings of the programs are in settings.tf.

variable "audit_data_access" {
  description = "Log who reads and writes data in Cloud Storage, Firestore and Secret Manager. Billed by volume."
  type        = bool
  default     = false
}

variable "autoclass" {
  description = "Let Cloud Storage choose each object's class by its use, instead of by age."
  type        = bool
  default     = false
}

variable "billing_account" {
  description = "Billing account for the budget alert (ABCDEF-123456-ABCDEF); empty for no budget."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([0-9A-F]{6}-[0-9A-F]{6}-[0-9A-F]{6})?$", var.billing_account))
    error_message = "billing_account must be an id such as 012345-6789AB-CDEF01, without billingAccounts/; or empty."
  }
}

variable "bucket_versioning" {
  description = "Keep replaced and deleted objects as versions for 30 days."
  type        = bool
  default     = false
}

variable "coldline_after_days" {
  description = "Age in days at which audio moves to Coldline; 0 for never."
  type        = number
  default     = 90

  validation {
    condition     = var.coldline_after_days >= 0 && floor(var.coldline_after_days) == var.coldline_after_days
    error_message = "coldline_after_days must be a whole number of days, 0 for never."
  }
}

variable "compress_max_instances" {
  description = "Files compressed at the same time; each has one connection to the SFTP server."
  type        = number
  default     = 4

  validation {
    condition     = var.compress_max_instances >= 1 && var.compress_max_instances <= 100
    error_message = "compress_max_instances must be from 1 to 100."
  }
}

variable "dashboard_members" {
  description = "Who may use the dashboard and browse the bucket, such as group:team@example.com. IAP needs a project in an organisation, and members of it. Empty for no dashboard."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.dashboard_members : can(regex("^((user|group):[^@[:space:]]+@[^@[:space:]]+|domain:[^@[:space:]]+)$", member))])
    error_message = "dashboard_members must be group:ADDRESS, user:ADDRESS or domain:DOMAIN."
  }
}

variable "egress_subnetwork" {
  description = "Your own subnetwork for connections to the SFTP server (projects/P/regions/R/subnetworks/S); empty for none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/regions/[^/]+/subnetworks/[^/]+)?$", var.egress_subnetwork))
    error_message = "egress_subnetwork must be projects/PROJECT/regions/REGION/subnetworks/NAME, or empty."
  }

  validation {
    condition     = var.egress_subnetwork == "" || !var.static_egress_ip
    error_message = "Set either egress_subnetwork or static_egress_ip: your own network has its own address."
  }
}

variable "environment" {
  description = "dev, staging or prod: the first part of every object's name. Each has its own project."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "extract_max_instances" {
  description = "Recordings extracted at the same time. Cloud Run refuses a service whose instances could use more than the region's quota; a new project has 20 vCPU and 40 GiB, and an instance has 1 vCPU and extract_memory."
  type        = number
  default     = 10

  validation {
    condition     = var.extract_max_instances >= 1 && var.extract_max_instances <= 1000
    error_message = "extract_max_instances must be from 1 to 1000."
  }
}

variable "extract_memory" {
  description = "Memory of one extraction. Files in /tmp count, so the resulting audio must fit."
  type        = string
  default     = "4Gi"

  validation {
    condition     = can(regex("^[1-4]Gi$", var.extract_memory))
    error_message = "extract_memory must be from 1Gi to 4Gi, the most that 1 vCPU can have."
  }
}

variable "firestore_database" {
  description = "Id of the database with the records. A restored backup is a new database with a new id."
  type        = string
  default     = "audio-pipeline"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,61}[a-z0-9]$", var.firestore_database))
    error_message = "firestore_database must be from 4 to 63 of a-z, 0-9 and -, and start with a letter."
  }
}

variable "firestore_location" {
  description = "Location of the records; empty for the region. It can never be changed."
  type        = string
  default     = ""
}

variable "image" {
  description = "Image of extract_audio by digest, NAME@sha256:…; empty before the first push."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9.:/_-]*@sha256:[0-9a-f]{64})?$", var.image))
    error_message = "image must be NAME@sha256:DIGEST, since a tag can be moved; or empty."
  }
}

variable "kms_key_name" {
  description = "Your own key to encrypt everything at rest (projects/P/locations/L/keyRings/R/cryptoKeys/K); empty for Google's keys."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)?$", var.kms_key_name))
    error_message = "kms_key_name must be projects/P/locations/L/keyRings/R/cryptoKeys/K, or empty."
  }
}

variable "log_retention_days" {
  description = "Age in days at which processing logs in the bucket are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.log_retention_days >= 1
    error_message = "log_retention_days must be at least 1."
  }
}

variable "mount_bucket" {
  description = "Mount the bucket as a directory in extract_audio (Cloud Storage FUSE) instead of using its API. It cannot create an object only if none exists, so two workers may write one name: the last one wins."
  type        = bool
  default     = false
}

variable "nearline_after_days" {
  description = "Age in days at which audio moves to Nearline; 0 for never."
  type        = number
  default     = 30

  validation {
    condition     = var.nearline_after_days >= 0 && floor(var.nearline_after_days) == var.nearline_after_days
    error_message = "nearline_after_days must be a whole number of days, 0 for never."
  }
}

variable "nightly_schedule" {
  description = "When the SFTP server is checked, as a cron line in time_zone."
  type        = string
  default     = "0 2 * * *"

  validation {
    condition     = length(split(" ", trimspace(var.nightly_schedule))) == 5
    error_message = "nightly_schedule must be a cron line of five fields, such as 0 2 * * *."
  }
}

variable "project_id" {
  description = "The Google Cloud project, which exists and has billing."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a project, not its name or number: 6 to 30 of a-z, 0-9 and -."
  }
}

variable "protected" {
  description = "Refuse to destroy; null for the environment's default, which is true only for prod."
  type        = bool
  default     = null
}

variable "region" {
  description = "Region of everything that runs and is stored, such as europe-west1. New projects can build only in asia-east1, australia-southeast1, europe-west1, southamerica-east1, us-central1 and us-west2."
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1, not a zone."
  }
}

variable "soft_delete_days" {
  description = "Days during which deleted audio can be restored: 0, or 7 to 90."
  type        = number
  default     = 7

  validation {
    condition     = var.soft_delete_days == 0 || (var.soft_delete_days >= 7 && var.soft_delete_days <= 90)
    error_message = "soft_delete_days must be 0, or 7 to 90."
  }
}

variable "static_egress_ip" {
  description = "Connect to the SFTP server from one fixed address, for its allow list."
  type        = bool
  default     = false
}

variable "time_zone" {
  description = "Time zone of nightly_schedule, such as Europe/Berlin."
  type        = string
  default     = "Etc/UTC"

  validation {
    condition     = can(regex("^[A-Z][A-Za-z]+(/[A-Z][A-Za-z0-9_+-]+){0,2}$", var.time_zone))
    error_message = "time_zone must be a name in the tz database, such as Europe/Berlin."
  }
}

variable "viewers" {
  description = "Who may browse the bucket in the console, such as group:team@example.com."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for member in var.viewers : can(regex("^((user|group):[^@[:space:]]+@[^@[:space:]]+|domain:[^@[:space:]]+)$", member))])
    error_message = "viewers must be group:ADDRESS, user:ADDRESS or domain:DOMAIN."
  }
}

variable "web_image" {
  description = "Image of notify and dashboard by digest, NAME@sha256:…; empty before the first push."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([a-z0-9][a-z0-9.:/_-]*@sha256:[0-9a-f]{64})?$", var.web_image))
    error_message = "web_image must be NAME@sha256:DIGEST, since a tag can be moved; or empty."
  }

  validation {
    condition     = (var.web_image == "") == (var.image == "")
    error_message = "Set both image and web_image, or neither: one build pushes both."
  }
}
