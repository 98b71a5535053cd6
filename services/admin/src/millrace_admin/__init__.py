"""The millrace command: check, access, bootstrap and the demo."""
