"""MQTT messages into InfluxDB, each once, with a confirmation."""
