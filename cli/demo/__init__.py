"""The whole system on one machine: its stack and the stand-ins of outside services."""
