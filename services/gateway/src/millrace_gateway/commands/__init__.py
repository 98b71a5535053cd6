"""The commands of `millrace-gateway` that a person gives at a terminal: each prints, and returns its exit status."""
