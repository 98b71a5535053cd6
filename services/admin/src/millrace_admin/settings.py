"""What the millrace command takes from the environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from millrace_contract.plant.model import DEFAULT_GATEWAY
from millrace_contract.runtime.settings import BrokerSettings

from .database_setup import Retention
from .own_accounts import OwnAccount, own_accounts


class AdminSettings(BrokerSettings):
    """Environment variables MILLRACE_<NAME>; docker-compose.yml sets them."""

    config: Path = Field(default=Path("config"), description="folder with plant.yaml and its companions")
    secrets: Path = Field(default=Path("var/secrets"), description="folder with a folder of secrets for each consumer")
    hostname: str = Field(
        default="localhost", description="names and addresses by which the broker is reached from outside, comma-separated"
    )
    gateway_instance: str = Field(
        default=DEFAULT_GATEWAY, description="the gateway of this server, as plant.yaml names it: gets an account of its own"
    )
    instances: str = Field(
        default="",
        description="instances that run here beside the first of each service, like ingest-2, oee-night: an account for each",
    )
    retention_raw: str = Field(default="30d", description="how long raw readings are kept: 12h, 30d, 8w or forever")
    retention_1m: str = Field(
        default="180d", description="how long the roll-ups by the minute are kept; written like RETENTION_RAW"
    )
    retention_1h: str = Field(
        default="forever", description="how long the roll-ups by the hour are kept; written like RETENTION_RAW"
    )
    influx_url: str = Field(default="http://127.0.0.1:8086", pattern=r"^https?://", description="address of InfluxDB")
    influx_org: str = Field(default="millrace", description="organisation in InfluxDB")
    http_host: str = Field(default="127.0.0.1", description="address where `access follow` answers how it is")
    http_port: int = Field(default=0, ge=0, le=65_535, description="port of that; 0: none")
    http_listen: str = Field(default="127.0.0.1", description="where screens and API are published; only shown")
    grafana_port: int = Field(default=3000, ge=1, le=65_535, description="port of the screens; only shown")
    api_port: int = Field(default=8080, ge=1, le=65_535, description="port of API and operator page; only shown")
    mqtt_tls_port: int = Field(default=8883, ge=1, le=65_535, description="port of the broker outside; only shown")

    parts: str = Field(
        default="", description="where `doctor` asks each part how it is: NAME=HOST:PORT, comma-separated; `tls` is the broker's"
    )

    @property
    def retention(self) -> Retention:
        """How long each bucket keeps what is in it."""
        return Retention(self.retention_raw, self.retention_1m, self.retention_1h)

    @property
    def own_accounts(self) -> list[OwnAccount]:
        """The platform's own broker accounts. Raises ConfigurationProblems."""
        return own_accounts(self.gateway_instance, self.instances)

    @property
    def outside_name(self) -> str:
        """The name to show for this server."""
        return self.hostname.split(",")[0].strip() or "localhost"
