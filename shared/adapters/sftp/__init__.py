"""Adapters for an SFTP server."""
