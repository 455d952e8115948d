"""Turns one recording into verified audio."""
