"""Adapters for Google Cloud and Google Drive."""
