"""Modbus devices in, MQTT telemetry out, with a store that survives everything in between."""
