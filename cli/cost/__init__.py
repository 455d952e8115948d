"""What a month costs on Google Cloud: usage, prices and the bill."""
