"""Settings of the OEE service: environment variables `MILLRACE_*`; the description of each is its documentation."""

from __future__ import annotations

from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, OutboxSettings, ServiceSettings


class OeeSettings(ServiceSettings, BrokerSettings, DatabaseSettings, OutboxSettings):
    """Everything that `millrace-oee` takes from its environment."""
