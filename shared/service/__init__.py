"""What services share: receiving pushes, the worker, writing objects, health, metrics."""
