"""The deployed artefacts, built as the deployment builds them, in empty places."""
