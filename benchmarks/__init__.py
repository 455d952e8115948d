"""One script per claim: ratios against what a user would run instead, both in one run."""
