# Variables that only alerts, dashboard and budget use.

variable "backlog_minutes" {
  description = "Alert when the oldest message of a queue is older than this, in minutes."
  type        = number
  default     = 60

  validation {
    condition     = var.backlog_minutes >= 10 && var.backlog_minutes <= 1440
    error_message = "backlog_minutes must be from 10 to 1440: one message may take 10 minutes by itself."
  }
}

variable "budget_amount" {
  description = "Budget of a month, in the billing account's currency."
  type        = number
  default     = 50

  validation {
    condition     = var.budget_amount >= 1 && floor(var.budget_amount) == var.budget_amount
    error_message = "budget_amount must be a whole number, at least 1."
  }
}

variable "failure_rate_percent" {
  description = "Alert when more than this share of recordings failed within 6 hours, in percent."
  type        = number
  default     = 10

  validation {
    condition     = var.failure_rate_percent > 0 && var.failure_rate_percent < 100
    error_message = "failure_rate_percent must be more than 0 and less than 100."
  }
}

variable "notification_channels" {
  description = "Existing notification channels that get every alert, projects/P/notificationChannels/N."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.notification_channels : can(regex("^projects/[^/]+/notificationChannels/[0-9]+$", id))])
    error_message = "notification_channels must be ids, projects/P/notificationChannels/N, as gcloud beta monitoring channels list prints them."
  }
}

variable "notification_emails" {
  description = "Addresses that get every alert by e-mail; each gets its own notification channel."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.notification_emails : can(regex("^[^@,[:space:]]+@[^@,[:space:]]+$", address))])
    error_message = "notification_emails must be e-mail addresses."
  }
}

variable "runbook_url" {
  description = "Address of docs/operations.md; alerts link to its sections."
  type        = string
  default     = "docs/operations.md"

  validation {
    condition     = can(regex("^[^#[:space:]]+$", var.runbook_url))
    error_message = "runbook_url must be the page's address, without an anchor."
  }
}

variable "working_day" {
  description = "When new recordings are expected: hours in UTC, and the days on which they end (0 is Sunday). In prod, a day without any is an alert."
  type = object({
    days           = optional(set(number), [1, 2, 3, 4, 5])
    end_hour_utc   = optional(number, 18)
    start_hour_utc = optional(number, 8)
  })
  default = {}

  validation {
    condition     = alltrue([for day in var.working_day.days : contains(range(7), day)])
    error_message = "working_day.days must be 0 (Sunday) to 6 (Saturday)."
  }

  validation {
    condition = alltrue([
      for hour in [var.working_day.start_hour_utc, var.working_day.end_hour_utc] : contains(range(24), hour)
    ]) && var.working_day.start_hour_utc != var.working_day.end_hour_utc
    error_message = "working_day must start and end at different hours, 0 to 23 in UTC."
  }
}
