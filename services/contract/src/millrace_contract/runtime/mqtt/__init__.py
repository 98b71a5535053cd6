"""The MQTT 5 clients: one protocol of a session, and what stands behind it."""
