"""Settings of the simulator's commands."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from millrace_contract.runtime.settings import BrokerSettings, DatabaseSettings, ServiceSettings


class SimulatorSettings(ServiceSettings):
    sim_bind: str = Field(default="127.0.0.1", description="address on which the simulated devices listen")
    sim_only_host: str = Field(
        default="", description="serve only devices whose connection has this host; empty: every device reached over TCP"
    )
    sim_certificate: Path | None = Field(
        default=None, description="PEM file with certificate and key; without it devices with transport tls are not served"
    )
    sim_seed: int = Field(default=1, ge=0, description="the same seed gives the same plant")
    sim_speed: float = Field(default=1.0, gt=0, le=1000, description="how much faster the machines live; timestamps stay real")
    sim_script: Path | None = Field(default=None, description="YAML file of faults to play from the start")
    sim_truth_hours: float = Field(default=48.0, gt=0, description="hours of truth that are kept for the score")
    sim_truth_mb: int = Field(default=512, ge=1, description="megabytes of truth that are kept at most")


class HistorySettings(SimulatorSettings, BrokerSettings):
    pass


class ScoreSettings(SimulatorSettings, DatabaseSettings):
    pass
