# One fixed address towards the SFTP server, or a network of your own; else Google's addresses.

locals {
  uses_vpc          = var.static_egress_ip || var.egress_subnetwork != ""
  egress_subnetwork = var.static_egress_ip ? google_compute_subnetwork.egress[0].id : var.egress_subnetwork
}

resource "google_compute_network" "egress" {
  # checkov:skip=CKV2_GCP_18: nothing listens in it, and a network without rules lets nothing in
  count = var.static_egress_ip ? 1 : 0

  name                    = "audio-pipeline"
  auto_create_subnetworks = false

  depends_on = [google_project_service.api["compute.googleapis.com"]]
}

resource "google_compute_subnetwork" "egress" {
  count = var.static_egress_ip ? 1 : 0

  name                     = "audio-pipeline-egress"
  network                  = google_compute_network.egress[0].id
  region                   = var.region
  ip_cidr_range            = "10.8.0.0/26" # direct VPC egress wants a /26 at least
  private_ip_google_access = true

  log_config {
    aggregation_interval = "INTERVAL_10_MIN"
    flow_sampling        = 0.5
    metadata             = "INCLUDE_ALL_METADATA"
  }
}

resource "google_compute_address" "egress" {
  count = var.static_egress_ip ? 1 : 0

  name   = "audio-pipeline-egress"
  region = var.region

  depends_on = [google_project_service.api["compute.googleapis.com"]]
}

resource "google_compute_router" "egress" {
  count = var.static_egress_ip ? 1 : 0

  name    = "audio-pipeline-egress"
  region  = var.region
  network = google_compute_network.egress[0].id
}

resource "google_compute_router_nat" "egress" {
  count = var.static_egress_ip ? 1 : 0

  name                               = "audio-pipeline-egress"
  router                             = google_compute_router.egress[0].name
  region                             = var.region
  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.egress[0].self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.egress[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}
