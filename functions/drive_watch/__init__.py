"""Finds new recordings in Drive and publishes them."""
