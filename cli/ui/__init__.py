"""What people see: tables, progress bars, error messages, JSON."""
