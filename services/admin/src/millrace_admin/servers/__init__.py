"""The two servers of other makers, mosquitto and influxd, on a machine without Docker: found, or fetched and made without root.

Nothing but the standard library is imported here: `scripts/mosquitto` and `scripts/influxd` run before anything is installed.
"""
