# Which files make up the archive of each function: a map from the path in the archive to the
# file. It needs no provider, so that tests can make the very same archive without one.

terraform {
  required_version = ">= 1.11"
}

variable "root" {
  description = "The repository's root."
  type        = string
}

locals {
  functions = toset(["drive_watch", "sftp_compress"])

  # Named by what they are, so that caches and whatever else lies about never get in.
  code = ["**/*.py", "**/py.typed"]

  shared = toset(flatten([for pattern in local.code : [for file in fileset("${var.root}/shared", pattern) : "shared/${file}"]]))
}

output "files" {
  description = "For each function, path in the archive => path on disk. All are UTF-8 text."
  value = {
    for name in local.functions : name => merge(
      { for path in local.shared : path => "${var.root}/${path}" },
      { for file in fileset("${var.root}/functions/${name}", "**/*.py") : "functions/${name}/${file}" => "${var.root}/functions/${name}/${file}" },
      {
        # Cloud Functions looks for these two at the root.
        "main.py"               = "${var.root}/functions/${name}/main.py"
        "requirements.txt"      = "${var.root}/functions/${name}/requirements.txt"
        "constraints.txt"       = "${var.root}/constraints.txt"
        "functions/__init__.py" = "${var.root}/functions/__init__.py"
      },
    )
  }
}
