"""Fixtures that every layer of the tests may ask for."""

pytest_plugins = ["tests.emulators"]
