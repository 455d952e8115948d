"""The entry points: one folder per function, which import ``shared`` and never one another."""
