"""The REST interface, its streams, and the operator page."""
