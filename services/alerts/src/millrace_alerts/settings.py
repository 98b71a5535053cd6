"""Settings of the alerts service: environment variables `MILLRACE_*`."""

from pathlib import Path

from pydantic import Field

from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, OutboxSettings, ServiceSettings


class AlertsSettings(ServiceSettings, BrokerSettings, DatabaseSettings, OutboxSettings):
    http_port: int = Field(default=8080, ge=1, le=65_535, description="port of the page, the API, health and metrics")
    health_port: int = Field(default=0, ge=0, le=65_535, description="port of health and status on the inside; 0: none")
    api_tokens_file: Path | None = Field(default=None, description="JSON file with the API tokens; unset: nobody has one")
    http_names: str = Field(
        default="",
        description="public names by which API and page are called, separated by commas (mes.plant.example.com); `*`: any",
    )
    page_anonymous: bool = Field(default=True, description="1: the operator page is readable without a token; 0: it asks for one")
    shelve_max_h: float = Field(default=12, gt=0, le=168, description="longest time for which an alert can be shelved, hours")
    events_max_mb: int = Field(
        default=1_000,
        ge=1,
        description="size at which the oldest events go to compressed files, MB of 1,000,000 bytes",
    )
    events_max_days: float = Field(default=400, gt=0, le=36_500, description="age at which events go to compressed files, days")

    @property
    def names(self) -> frozenset[str]:
        """The names of `http_names`."""
        return frozenset(name.strip().lower() for name in self.http_names.split(",") if name.strip())
