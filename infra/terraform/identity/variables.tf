variable "attribute_condition" {
  description = "Further condition on an outside token, in CEL: comparisons of claims joined by &&. The repository, and its owner's id when it is given, are always compared."
  type        = string
  default     = null

  validation {
    condition     = var.attribute_condition == null || can(regex("^assertion\\.[a-z_]+ *(==|!=) *'[^'\\\\]*'( *&& *assertion\\.[a-z_]+ *(==|!=) *'[^'\\\\]*')*$", var.attribute_condition))
    error_message = "attribute_condition must be one or more comparisons joined by &&, such as assertion.environment == 'production'; nothing that could widen the other conditions."
  }

  validation {
    condition = var.attribute_condition == null || alltrue([
      for compared in try(regexall("assertion\\.(?:repository|project_path) *== *'([^']*)'", var.attribute_condition), []) :
      compared[0] == var.repository
    ])
    error_message = "attribute_condition names another repository, so no token could deploy."
  }
}

variable "branch" {
  description = "Branch whose pushes are deployed; production accepts no other."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.branch))
    error_message = "branch must be the name of a branch, without refs/heads/."
  }
}

variable "build_repository" {
  description = "Connected repository for Cloud Build's triggers (projects/P/locations/L/connections/C/repositories/R); empty for no triggers."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(projects/[^/]+/locations/[^/]+/connections/[^/]+/repositories/[^/]+)?$", var.build_repository))
    error_message = "build_repository must be projects/P/locations/L/connections/C/repositories/R, or empty."
  }
}

variable "claims" {
  description = "Claims of the issuer's tokens that name the repository, its owner's id and the ref, the prefix of a branch in the ref, and a further condition in CEL. null for those of GitHub and GitLab.com; any other issuer needs them."
  type = object({
    branch_prefix = optional(string, "refs/heads/")
    extra         = optional(string, "")
    owner_id      = optional(string, "repository_owner_id")
    ref           = optional(string, "ref")
    repository    = string
  })
  default = null

  validation {
    condition     = var.claims != null || contains(["https://token.actions.githubusercontent.com", "https://gitlab.com"], var.issuer_uri)
    error_message = "Set claims for this issuer, such as { repository = \"project_path\", branch_prefix = \"\" }."
  }

  validation {
    condition = var.claims == null || alltrue([
      for name in try([var.claims.owner_id, var.claims.ref, var.claims.repository], []) : can(regex("^[a-z_]+$", name))
    ])
    error_message = "claims.owner_id, ref and repository must be names of claims, such as project_path."
  }

  validation {
    condition     = var.claims == null || can(regex("^(assertion\\.[a-z_]+ *(==|!=) *'[^'\\\\]*'( *&& *assertion\\.[a-z_]+ *(==|!=) *'[^'\\\\]*')*)?$", var.claims.extra))
    error_message = "claims.extra must be one or more comparisons joined by &&, or empty."
  }
}

variable "environment" {
  description = "dev, staging or prod. Production waits for an approval, and accepts one branch only."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "issuer_uri" {
  description = "Issuer of the outside CI's tokens; GitHub Actions by default."
  type        = string
  default     = "https://token.actions.githubusercontent.com"

  validation {
    condition     = startswith(var.issuer_uri, "https://")
    error_message = "issuer_uri must start with https://."
  }
}

variable "project_id" {
  description = "The Google Cloud project of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be the id of a project: 6 to 30 of a-z, 0-9 and -."
  }
}

variable "region" {
  description = "Region of the environment and its builds."
  type        = string
  default     = "europe-west1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region must be a region such as europe-west1, not a zone."
  }
}

variable "repository" {
  description = "The one repository that may deploy, owner/name (GitLab: group/subgroup/name); empty for no outside CI."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+)?$", var.repository))
    error_message = "repository must be owner/name, without https://."
  }
}

variable "repository_owner_id" {
  description = "Number of the repository's owner (GitLab: of its namespace). Someone else can take over a name that was given up, but not a number."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^[0-9]*$", var.repository_owner_id))
    error_message = "repository_owner_id must be a number: the id that https://api.github.com/users/OWNER shows."
  }
}
