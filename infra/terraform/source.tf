# The functions' archives. ./source lists their files, and needs no provider.

module "source" {
  source = "./source"

  root = "${path.module}/../.."
}

# Made of texts, so that neither modes nor times of the checkout are in it.
data "archive_file" "function" {
  for_each = module.source.files

  type        = "zip"
  output_path = "${path.root}/.terraform/archives/${each.key}.zip"

  dynamic "source" {
    for_each = each.value

    content {
      filename = source.key
      content  = file(source.value)
    }
  }
}

# Named by its content: another content is another object, and its functions are built again.
resource "google_storage_bucket_object" "function" {
  for_each = data.archive_file.function

  bucket       = google_storage_bucket.functions_source.name
  name         = "${each.key}-${each.value.output_sha256}.zip"
  source       = each.value.output_path
  content_type = "application/zip"

  lifecycle {
    create_before_destroy = true
  }
}
