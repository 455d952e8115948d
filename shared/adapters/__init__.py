"""Implementations of the ports; only ``shared.bootstrap`` imports them."""
