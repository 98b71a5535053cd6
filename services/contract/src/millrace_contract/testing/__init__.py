"""Real servers for tests: brokers and an influxd of the test's own, on free ports, killed and restarted at will."""

from .clock import ManualClock
from .servers import Broker, BrokerSetup, Influxd, Mosquitto, free_port, wait_until

__all__ = ["Broker", "BrokerSetup", "Influxd", "ManualClock", "Mosquitto", "free_port", "wait_until"]
