"""The whole system as processes, under faults that one seed decides."""
