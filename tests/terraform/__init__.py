"""The infrastructure: its plans, and what an apply does."""
