"""Accounts and tokens for people, sensors and more gateways."""
