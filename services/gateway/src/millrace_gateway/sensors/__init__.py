"""Sensors that speak MQTT themselves: from what they send on topics of their own to telemetry like any other."""
