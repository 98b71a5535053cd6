"""`millrace demo`: the same processes without containers, with a live picture of what flows."""
