"""Compresses the audio of an SFTP server every night."""
