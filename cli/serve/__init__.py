"""The whole system as one process tree: ``audio-pipeline serve``."""
