"""Finds new and changed files in a folder, and waits until they are complete."""
