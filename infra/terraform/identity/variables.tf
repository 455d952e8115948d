variable "attribute_condition" {
  description = "What must hold of an outside token, in CEL; null for the repository, and its owner's id when that is given."
  type        = string
  default     = null

  validation {
    condition     = var.attribute_condition == null || can(regex("assertion\\.[a-z_]+ *==", var.attribute_condition))
    error_message = "attribute_condition compares claims of the token, as in assertion.repository == 'owner/name': without one, every repository of the issuer is let in."
  }

  validation {
    condition     = var.attribute_condition == null || try(strcontains(var.attribute_condition, var.repository), false)
    error_message = "attribute_condition names the repository, so that no other one of the issuer is let in."
  }
}

variable "branch" {
  description = "Whose pushes are deployed; production's deployments come from nowhere else."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.branch))
    error_message = "branch is the name of a branch, without refs/heads/ before it."
  }
}

variable "build_repository" {
  description = "Repository of Cloud Build that triggers listen to (projects/P/locations/L/connections/C/repositories/R); empty for no triggers."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+)?$", var.build_repository))
    error_message = "build_repository is projects/P/locations/L/connections/C/repositories/R, or empty."
  }
}

variable "environment" {
  description = "dev, staging or prod. Production waits for an approval, and takes one branch alone."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "issuer_uri" {
  description = "Who signs the outside CI's tokens; GitHub Actions unless given."
  type        = string
  default     = "https://token.actions.githubusercontent.com"

  validation {
    condition     = startswith(var.issuer_uri, "https://")
    error_message = "issuer_uri begins with https://."
  }
}

variable "project_id" {
  description = "The Google Cloud project of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id is the id of a project: 6 to 30 of a-z, 0-9 and -."
  }
}

variable "region" {
  description = "Where the environment runs, and its builds."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a region such as europe-west1, not a zone."
  }
}

variable "repository" {
  description = "The one repository that may deploy, owner/name; empty to let no outside CI in."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9._-]+/[A-Za-z0-9._-]+)?$", var.repository))
    error_message = "repository is owner/name, without https:// before it."
  }
}

variable "repository_owner_id" {
  description = "Number of the repository's owner at GitHub; a name that was given up may be taken by another, a number not."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[0-9]*$", var.repository_owner_id))
    error_message = "repository_owner_id is a number: the id that https://api.github.com/users/OWNER shows."
  }
}
