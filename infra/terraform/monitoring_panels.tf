# The panels of the dashboard; like the alerts' rules, they need no provider.

locals {
  # Rows of panels that share a height; each query is PromQL.
  dashboard_rows = [
    {
      height = 8
      panels = [
        { title = "Open incidents", width = 48, incidents = true },
      ]
    },
    {
      height = 14
      panels = [
        {
          title = "Recordings that ended, by status (an hour each)"
          width = 24
          kind  = "STACKED_BAR"
          lines = { "$${labels.status}" = "sum by (status) (${local.ended_in.hour.all})" }
        },
        {
          title = "Failure rate over 6 hours, in percent"
          width = 12
          lines = { "failed" = "100 * ${local.failed_share}" }
          limit = var.failure_rate_percent
        },
        {
          title = "Failures by code (a day each)"
          width = 12
          kind  = "STACKED_BAR"
          lines = { "$${labels.code}" = "sum by (code) (${local.ended_in.day.failed})" }
        },
      ]
    },
    {
      height = 14
      panels = [
        {
          title = "From claim to end, in seconds (6 hours)"
          width = 24
          lines = {
            "p50" = "histogram_quantile(0.5, sum by (le) (${local.ended_in.window.buckets}))"
            "p95" = "histogram_quantile(0.95, sum by (le) (${local.ended_in.window.buckets}))"
          }
        },
        {
          title = "At work: active instances (one recording each) and executions of the job"
          width = 24
          kind  = "STACKED_AREA"
          lines = {
            "$${labels.service_name}" = "sum by (service_name) (run_googleapis_com:container_instance_count{${local.on_run},state=\"active\",service_name=~\"extract-audio|compress\"})"
            "$${labels.job_name} job" = "sum by (job_name) (run_googleapis_com:job_running_executions{${local.on_job}})"
          }
        },
      ]
    },
    {
      height = 14
      panels = [
        {
          title = "Oldest message of each queue, in seconds"
          width = 16
          lines = { "$${labels.subscription_id}" = local.oldest_unacked }
          limit = var.backlog_minutes * 60
        },
        {
          title = "Messages waiting"
          width = 16
          kind  = "STACKED_AREA"
          lines = { "$${labels.subscription_id}" = "sum by (subscription_id) (pubsub_googleapis_com:subscription_num_undelivered_messages{${local.of_pubsub}})" }
        },
        {
          title = "Dead letters (an hour each)"
          width = 16
          kind  = "STACKED_BAR"
          lines = { "$${labels.subscription_id}" = "sum by (subscription_id) (increase(${local.dead_lettered}[1h]))" }
        },
      ]
    },
    {
      height = 14
      panels = [
        {
          title = "New recordings found in Drive (an hour each)"
          width = 16
          kind  = "STACKED_BAR"
          lines = { "by $${labels.service_name}" = "sum by (service_name) (increase(${local.of_log.audio_watch_files_published_total}{${local.on_run}}[1h]))" }
        },
        {
          title = "Hours until the first channel ends"
          width = 16
          lines = {
            "hours left" = join(" / ", [
              for part in ["sum", "count"] :
              "sum(increase(${local.of_log.audio_watch_channel_hours_left}_${part}{${local.on_run}}[1h]))"
            ])
          }
        },
        {
          title = "The webhook's answers, by class"
          width = 16
          kind  = "STACKED_BAR"
          lines = { "$${labels.response_code_class}" = "sum by (response_code_class) (increase(${local.requests}[1h]))" }
        },
      ]
    },
    {
      height = 14
      panels = [
        {
          title = "Nightly run: files found, and queued as new or changed"
          width = 24
          kind  = "STACKED_BAR"
          lines = {
            for what in ["found", "queued"] :
            what => "sum(increase(${local.of_log["audio_nightly_files_${what}"]}_sum{${local.on_run}}[24h]))"
          }
        },
        {
          title = "Runs of maintain (an hour each), and those in which something failed"
          width = 24
          lines = {
            "$${labels.task}"        = "sum by (task) (increase(${local.of_log.audio_watch_runs_total}{${local.on_run}}[1h]))"
            "$${labels.task} failed" = "sum by (task) (increase(${local.of_log.audio_watch_failed_runs_total}{${local.on_run}}[1h]))"
          }
        },
      ]
    },
    {
      height = 20
      panels = [
        {
          title = "Errors of services and the job"
          width = 48
          logs  = "severity>=ERROR AND resource.type=(\"cloud_run_revision\" OR \"cloud_run_job\")"
        },
      ]
    },
  ]
}
