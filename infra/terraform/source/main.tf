# Which files make up each function's archive. It asks no provider, so that
# `terraform apply` and `terraform output` print them on a machine that has none.

terraform {
  required_version = ">= 1.11"
}

variable "root" {
  description = "The repository's root."
  type        = string
}

locals {
  # What the programs read: code, and the text files that are package data. Only these, so that
  # bytecode, an editor's backups and stray secrets never get in; and only text, since
  # file() fails on anything that is not UTF-8.
  wanted = "**/{*.py,py.typed,*.html,*.css,*.js,*.svg,*.json,*.sql}"

  # No code of these functions imports what is left out here, and a test checks that. A
  # change there does not deploy them again.
  left_out = {
    drive_watch   = "^shared/media/"
    sftp_compress = "^$"
  }

  # What the settings import from a folder that is left out.
  kept = [
    "shared/media/__init__.py",
    "shared/media/formats/__init__.py",
    "shared/media/formats/mp3_rates.py",
    "shared/media/presets.py",
  ]

  shared = [for path in fileset(var.root, "shared/${local.wanted}") : path]

  own = {
    for name, _ in local.left_out : name => fileset(var.root, "functions/${name}/${local.wanted}")
  }
}

output "files" {
  description = "For each archive: path in the archive => path of the file on disk, from which file() reads it."

  value = {
    for name, left_out in local.left_out : name => merge(
      {
        for path in concat(local.shared, tolist(local.own[name])) : path => "${var.root}/${path}"
        if !strcontains("/${path}", "/.") && (length(regexall(left_out, path)) == 0 || contains(local.kept, path))
      },
      {
        # The builder looks for both at the root. Imported as `main`, the function's own module
        # finds `functions` and `shared` beside it.
        "main.py"          = "${var.root}/functions/${name}/main.py"
        "requirements.txt" = "${var.root}/functions/${name}/requirements.txt"

        # requirements.txt names it, and pip looks for it beside that file.
        "constraints.txt"       = "${var.root}/constraints.txt"
        "functions/__init__.py" = "${var.root}/functions/__init__.py"
      },
    )
  }
}
