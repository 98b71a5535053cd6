"""Real servers for tests: a mosquitto and an influxd of the test's own, on free ports, killed and restarted at will."""

from .clock import ManualClock
from .servers import Influxd, Mosquitto, free_port, wait_until

__all__ = ["Influxd", "ManualClock", "Mosquitto", "free_port", "wait_until"]
