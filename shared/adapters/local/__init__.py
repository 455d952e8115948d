"""Adapters for one machine: directories and SQLite."""
