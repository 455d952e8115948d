"""Readers and writers of the file formats that FFmpeg alone does not handle well."""
