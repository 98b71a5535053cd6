"""Prometheus metrics. The only use of prometheus_client in this package; services make their own from these classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

__all__ = [
    "CONTENT_TYPE",
    "Counter",
    "CounterMetricFamily",
    "Gauge",
    "Histogram",
    "HistogramMetricFamily",
    "Metric",
    "exposition",
    "register",
]

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Collector(Protocol):
    """Figures that are kept elsewhere: asked for when somebody looks."""

    def collect(self) -> Iterable[Metric]:
        """The figures of this moment. Any thread."""


def register(collector: Collector) -> None:
    """Show its figures among the others. For what is counted so often that a lock each time would cost more than the rest."""
    REGISTRY.register(collector)


def exposition() -> bytes:
    """All metrics of the process in the text format."""
    return generate_latest()
