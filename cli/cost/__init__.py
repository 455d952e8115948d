"""What a month costs on Google Cloud: usage, prices, the bill, and its report."""
