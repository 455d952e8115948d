# What alerts and dashboard ask in PromQL. Nothing here needs a provider, so that a test can render
# the rules and run them over made-up series.

locals {
  # The name of a log-based metric in PromQL. One that several resource types write needs
  # monitored_resource too.
  of_log = { for name, _ in local.log_metrics : name => "logging_googleapis_com:user_${name}" }

  on_run = "monitored_resource=\"cloud_run_revision\""
  on_job = "monitored_resource=\"cloud_run_job\""

  # Recordings end in services and in the job; `or` is the union of both.
  ended_in = {
    for name, hours in { hour = "1h", window = "6h", day = "24h" } : name => {
      all = join(" or ", [
        for resource in [local.on_run, local.on_job] :
        "increase(${local.of_log.audio_extract_files_processed_total}{${resource}}[${hours}])"
      ])
      failed = join(" or ", [
        for resource in [local.on_run, local.on_job] :
        "increase(${local.of_log.audio_extract_files_processed_total}{${resource},status=\"FAILED\"}[${hours}])"
      ])
      buckets = join(" or ", [
        for resource in [local.on_run, local.on_job] :
        "increase(${local.of_log.audio_extract_processing_duration_seconds}_bucket{${resource},status=\"DONE\"}[${hours}])"
      ])
    }
  }

  failed_share = "(sum(${local.ended_in.window.failed}) or vector(0)) / sum(${local.ended_in.window.all})"

  of_pubsub      = "monitored_resource=\"pubsub_subscription\",subscription_id=~\"${join("|", local.monitored_subscriptions)}\""
  oldest_unacked = "max by (subscription_id) (pubsub_googleapis_com:subscription_oldest_unacked_message_age{${local.of_pubsub}})"
  dead_lettered  = "pubsub_googleapis_com:subscription_dead_letter_message_count{${local.of_pubsub}}"
  requests       = "run_googleapis_com:request_count{${local.on_run},service_name=\"${local.monitored_webhook}\"}"

  working_hours = (var.working_day.end_hour_utc - var.working_day.start_hour_utc + 24) % 24
  # An hour more than the day: while the rule is evaluated, the day's first hour leaves the window.
  published_in_working_day = "increase(${local.of_log.audio_watch_files_published_total}{${local.on_run}}[${local.working_hours + 1}h])"
  working_day_is_over = join(" and on() ", [
    "(hour() == ${var.working_day.end_hour_utc})",
    "(${join(" or ", [for day in var.working_day.days : "day_of_week() == ${day}"])})",
  ])

  is_daily = can(regex("^[^ ]+ +[^ ]+ +[*] +[*] +[*]$", trimspace(var.nightly_schedule)))

  # Counts are compared with halves: increase() interpolates, and does not return whole numbers.
  # `hold` is never zero, which an API may leave out of its answer: a difference in every plan.
  all_alerts = {
    channel-expiry = {
      severity = "WARNING"
      query    = "sum(increase(${local.of_log.audio_watch_channel_near_expiry_total}{${local.on_run}}[1h])) > 1.5"
      hold     = "60s"
      metrics  = ["audio_watch_channel_near_expiry_total"]
      meaning  = "A watch channel of Drive is about to end, or has ended, and two runs of maintain have not renewed it. Nothing is lost: new recordings are still found every 15 minutes, but no longer within seconds."
      look     = "The log lines of `maintain` that begin with `maintain failed for channel of`: they contain Drive's answer."
    }
    dead-letters = {
      severity = "ERROR"
      query    = "sum by (subscription_id) (increase(${local.dead_lettered}[15m])) > 0.5"
      hold     = "60s"
      metrics  = []
      meaning  = "Pub/Sub has delivered a message 100 times and given up on it. Its recording is FAILED(`dead_letter`) and is retried after 1, 6 and 24 hours, or still QUEUED if no worker ever claimed it."
      look     = "The errors of `extract-audio` and `compress` in the hours before; then `audio-pipeline status --failed`."
    }
    failure-rate = {
      severity = "ERROR"
      query    = "${local.failed_share} > ${var.failure_rate_percent / 100} and on() sum(${local.ended_in.window.failed}) > 1.5"
      hold     = "60s"
      metrics  = ["audio_extract_files_processed_total"]
      meaning  = "More than ${var.failure_rate_percent} % of the recordings that ended within 6 hours have failed, and at least two of them."
      look     = "The dashboard's failures by code: one code points at one cause. `audio-pipeline status --failed` lists the recordings and the reasons."
    }
    maintain-failing = {
      severity = "ERROR"
      query = join(" or ", [
        "sum by (task) (increase(${local.of_log.audio_watch_failed_runs_total}{${local.on_run},task=\"all\"}[1h])) > 2.5",
        "sum by (task) (increase(${local.of_log.audio_watch_failed_runs_total}{${local.on_run},task=\"requeue\"}[1h])) > 20",
      ])
      hold    = "60s"
      metrics = ["audio_watch_failed_runs_total"]
      meaning = "Run after run, maintain cannot read an account or a shared drive, renew a channel, or requeue. What it cannot read is not watched."
      look    = "The log lines of `maintain` that begin with `maintain failed for`: they name the account or drive, and Drive's answer."
    }
    maintain-silent = {
      severity = "CRITICAL"
      query    = "(count(sum by (task) (increase(${local.of_log.audio_watch_runs_total}{${local.on_run}}[1h])) > 0) or vector(0)) < 2"
      hold     = "1800s"
      metrics  = ["audio_watch_runs_total"]
      meaning  = "For an hour no run of maintain has finished: the one of every 15 minutes, or the requeue of every minute. Channels expire, crashed work is not requeued, and other alerts do not fire."
      look     = "Cloud Scheduler's jobs `maintain` and `requeue` (paused? failing?), then the errors of the function `maintain`."
    }
    nightly-failed = {
      severity = "ERROR"
      query    = "sum by (code) (increase(${local.of_log.audio_nightly_failures_total}{${local.on_run}}[1h])) > 0.5"
      hold     = "60s"
      metrics  = ["audio_nightly_failures_total"]
      meaning  = "The nightly run failed. The code is the reason: `unreachable`, `host_key`, `authentication`, `missing_directory`, or `empty_directory` for one without any audio file. Scheduler tries three more times."
      look     = "The incident's label `code`, and the line `the nightly run failed` in the log of `nightly`."
    }
    nightly-missed = {
      severity = "ERROR"
      query    = "(sum(increase(${local.of_log.audio_nightly_runs_total}{${local.on_run}}[25h])) or vector(0)) < 0.5"
      hold     = "3600s"
      metrics  = ["audio_nightly_runs_total"]
      meaning  = "No nightly run has succeeded for more than a day. After a first deploy this opens before the first night: run it once by hand."
      look     = "Cloud Scheduler's job `nightly`: paused, or failing? Then the log of the function `nightly`."
    }
    no-new-files = {
      severity = "WARNING"
      query    = "(sum(${local.published_in_working_day}) or vector(0)) < 0.5 and on() ${local.working_day_is_over}"
      hold     = "60s"
      metrics  = ["audio_watch_files_published_total"]
      meaning  = "A whole working day without one new recording. On a public holiday that is expected; the incident closes by itself after an hour."
      look     = "Is a recording of today in Drive, and do the watched accounts or folders still cover it? Run `audio-pipeline audit`."
    }
    oldest-unacked = {
      severity = "WARNING"
      query    = "${local.oldest_unacked} > ${var.backlog_minutes * 60}"
      hold     = "600s"
      metrics  = []
      meaning  = "A message has waited for more than ${var.backlog_minutes} minutes. Either more messages arrive than the instances can process, or every delivery is refused."
      look     = "The dashboard: are instances active? If they are, it is a backlog and passes; if not, look at the answers and errors of the receiving service."
    }
    webhook-5xx = {
      severity = "ERROR"
      query    = "sum(increase(${replace(local.requests, "}", ",response_code_class=\"5xx\"}")}[15m])) > 5"
      hold     = "60s"
      metrics  = []
      meaning  = "The webhook that Drive calls answers with server errors. Drive retries, and maintain finds missed recordings within 15 minutes: they are late, not lost."
      look     = "The log line `not drained` of `notify`, with its stack: mostly Drive, Firestore or Pub/Sub refused."
    }
  }

  # Made where there is something to watch; switched on where silence means something.
  alerts_off = setunion(
    var.sftp_host == "" ? ["nightly-failed", "nightly-missed"] : [],
    local.is_daily ? [] : ["nightly-missed"],
  )
  alerts = {
    for name, alert in local.all_alerts : name => merge(alert, {
      enabled = name != "no-new-files" || var.environment == "prod"
    }) if !contains(local.alerts_off, name)
  }
}
