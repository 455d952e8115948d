"""The command line, ``audio-pipeline``."""
