# Counted from the programs' logs. The definitions are data, so that a test can compare them with
# the lines that the programs write.

locals {
  log_metrics = jsondecode(file("${path.module}/log_metrics.json"))
}

resource "google_logging_metric" "log" {
  for_each = local.log_metrics

  name             = each.key
  description      = each.value.description
  filter           = join(" AND ", each.value.filter)
  label_extractors = { for label, field in try(each.value.labels, {}) : label => "EXTRACT(${field})" }
  value_extractor  = can(each.value.value) ? "EXTRACT(${each.value.value})" : null

  # A counter or a distribution: Cloud Logging knows no gauge.
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit        = try(each.value.unit, "1")

    dynamic "labels" {
      for_each = try(each.value.labels, {})

      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }

  dynamic "bucket_options" {
    for_each = can(each.value.buckets) ? [each.value.buckets] : []

    content {
      exponential_buckets {
        scale              = bucket_options.value.scale
        growth_factor      = bucket_options.value.growth_factor
        num_finite_buckets = bucket_options.value.num_finite_buckets
      }
    }
  }

  depends_on = [google_project_service.api["logging.googleapis.com"]]
}
