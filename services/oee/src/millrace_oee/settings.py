"""Settings of the OEE service: environment variables `MILLRACE_*`; the description of each is its documentation."""

from __future__ import annotations

from pydantic import Field

from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, ServiceSettings


class OeeSettings(ServiceSettings, BrokerSettings, DatabaseSettings):
    outbox_max_mb: int = Field(default=256, ge=1, description="size at which the outbox drops its oldest messages, MB")
    outbox_max_days: float = Field(default=30, gt=0, description="age at which the outbox drops a message, days")
