"""Output for people and scripts: tables, progress bars, error messages, JSON."""
