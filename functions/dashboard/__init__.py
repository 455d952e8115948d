"""The dashboard: pages and an API over the tracker and the bucket."""
