# One look at everything. The JSON contains no zero, no empty value and no default: the API leaves
# those out of its answer, and each would be a difference in every plan.

locals {
  dashboard_columns = 48

  dashboard_charts = [
    for row in local.dashboard_rows : [
      for panel in row.panels : merge(
        { title = panel.title },
        can(panel.incidents) ? {
          incidentList = { policyNames = [for name in sort(keys(local.alerts)) : google_monitoring_alert_policy.alert[name].name] }
        } : {},
        can(panel.logs) ? {
          logsPanel = { filter = panel.logs, resourceNames = ["projects/${var.project_id}"] }
        } : {},
        can(panel.lines) ? {
          xyChart = merge(
            {
              dataSets = [
                for legend, query in panel.lines : {
                  legendTemplate  = legend
                  plotType        = try(panel.kind, "LINE")
                  targetAxis      = "Y1"
                  timeSeriesQuery = { prometheusQuery = query }
                }
              ]
              yAxis = { scale = "LINEAR" }
            },
            can(panel.limit) ? { thresholds = [{ label = "alert", value = panel.limit, targetAxis = "Y1" }] } : {},
          )
        } : {},
      )
    ]
  ]

  dashboard_tiles = flatten([
    for y, row in local.dashboard_rows : [
      for x, panel in row.panels : merge(
        { width = panel.width, height = row.height, widget = local.dashboard_charts[y][x] },
        x == 0 ? {} : { xPos = sum(slice(row.panels, 0, x)[*].width) },
        y == 0 ? {} : { yPos = sum(slice(local.dashboard_rows, 0, y)[*].height) },
      )
    ]
  ])
}

resource "google_monitoring_dashboard" "overview" {
  dashboard_json = jsonencode({
    displayName  = "audio-pipeline ${var.environment}"
    mosaicLayout = { columns = local.dashboard_columns, tiles = local.dashboard_tiles }
  })

  depends_on = [
    google_logging_metric.log,
    google_project_service.api["monitoring.googleapis.com"],
  ]
}
