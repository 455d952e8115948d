output "bucket" {
  description = "The bucket of the audio."
  value       = google_storage_bucket.audio.name
}

output "bucket_console_url" {
  description = "Where people browse the audio."
  value       = "https://console.cloud.google.com/storage/browser/${google_storage_bucket.audio.name}/${var.environment}?project=${var.project_id}"
}

output "drive_reader_client_id" {
  description = "What the administrator of the domain delegates drive.readonly to."
  value       = google_service_account.component["drive-reader"].unique_id
}

output "drive_reader_email" {
  description = "Whom folders of Drive are shared with."
  value       = google_service_account.component["drive-reader"].email
}

output "extract_audio_url" {
  description = "The extraction service; empty while there is no image."
  value       = one(google_cloud_run_v2_service.extract_audio[*].uri)
}

output "image_repository" {
  description = "Where the image of extract_audio is pushed."
  value       = "${var.region}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}/extract-audio"
}

output "next_steps" {
  description = "What is left to do by hand."
  value = join("\n", compact([
    var.image == "" ? "Push the image and apply again with it: make deploy PROJECT=${var.project_id} does both." : "",
    length(var.drive_subjects) == 0 ?
    "Share the folder of the recordings with ${google_service_account.component["drive-reader"].email}." :
    "Delegate https://www.googleapis.com/auth/drive.readonly to client ${google_service_account.component["drive-reader"].unique_id} in the Admin console.",
    var.sftp_host == "" ? "Set sftp_host to compress an SFTP server each night." :
    "Add the SFTP credentials: gcloud secrets versions add ${google_secret_manager_secret.sftp_credentials.secret_id} --project=${var.project_id} --data-file=credentials.json",
    var.static_egress_ip ? "Let ${google_compute_address.egress[0].address} in on the SFTP server." : "",
    "Open a channel now rather than within 15 minutes: gcloud scheduler jobs run maintain --project=${var.project_id} --location=${var.region}",
  ]))
}

output "sftp_egress_address" {
  description = "The fixed address that the SFTP server sees; empty without static_egress_ip."
  value       = one(google_compute_address.egress[*].address)
}

output "webhook_url" {
  description = "The address that Drive notifies."
  value       = google_cloudfunctions2_function.notify.service_config[0].uri
}
