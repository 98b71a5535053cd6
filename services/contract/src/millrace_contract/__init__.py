"""The language that the Millrace services speak."""
