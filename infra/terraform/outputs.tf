output "bucket" {
  description = "The bucket with the audio."
  value       = google_storage_bucket.audio.name
}

output "bucket_console_url" {
  description = "Where people browse the audio."
  value       = "https://console.cloud.google.com/storage/browser/${google_storage_bucket.audio.name}/${var.environment}?project=${var.project_id}"
}

output "dashboard_url" {
  description = "The dashboard; empty without dashboard_members."
  value       = one(google_cloud_run_v2_service.dashboard[*].uri)
}

output "drive_reader_client_id" {
  description = "Client id to delegate drive.readonly to in the Admin console."
  value       = google_service_account.component["drive-reader"].unique_id
}

output "drive_reader_email" {
  description = "Address to share Drive folders with."
  value       = google_service_account.component["drive-reader"].email
}

output "environment" {
  description = "dev, staging or prod. A deployment refuses a project that contains another one."
  value       = var.environment
}

output "extract_audio_url" {
  description = "The extraction service; empty before its image is pushed."
  value       = one(google_cloud_run_v2_service.extract_audio[*].uri)
}

output "image_repository" {
  description = "Repository of the images extract-audio and web."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "next_steps" {
  description = "What to do next, by hand."
  value = join("\n", compact([
    local.deployed ? "" : "Push the images and apply again with them: make deploy PROJECT=${var.project_id} ENV=${var.environment} does both.",
    length(var.drive_subjects) == 0 ?
    "Share the folder with the recordings with ${google_service_account.component["drive-reader"].email}." :
    "Delegate https://www.googleapis.com/auth/drive.readonly to client ${google_service_account.component["drive-reader"].unique_id} in the Admin console.",
    var.sftp_host == "" ? "Set sftp_host to compress an SFTP server each night." :
    "Add the SFTP credentials: gcloud secrets versions add ${google_secret_manager_secret.secret["sftp-credentials"].secret_id} --project=${var.project_id} --data-file=- < credentials.json",
    var.static_egress_ip ? "Allow ${google_compute_address.egress[0].address} on the SFTP server." : "",
    "Open a channel now instead of within 15 minutes: gcloud scheduler jobs run maintain --project=${var.project_id} --location=${var.region}",
  ]))
}

output "results_topic" {
  description = "The topic that announces the end of each recording."
  value       = google_pubsub_topic.topic["results"].id
}

output "sftp_egress_address" {
  description = "The fixed address that the SFTP server sees; empty without static_egress_ip."
  value       = one(google_compute_address.egress[*].address)
}

output "webhook_url" {
  description = "The address that Drive notifies; empty before the image is pushed."
  value       = one(google_cloud_run_v2_service.notify[*].uri)
}
