"""The tracker: claims, leases and requeues, over any document database."""
