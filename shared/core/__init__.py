"""Types and rules that everything else uses: errors, messages, records, ports, names."""
