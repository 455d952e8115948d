"""The media engine: everything that FFmpeg does for the pipeline, behind typed functions."""
