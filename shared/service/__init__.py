"""What the HTTP services share: push messages, health, metrics, writing objects."""
