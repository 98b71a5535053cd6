"""A folder of secrets as bootstrap makes it from the sample plant."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace_admin.bootstrap import bootstrap
from millrace_admin.secret_files import SecretFiles

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def sample_config() -> Path:
    return REPOSITORY / "config"


@pytest.fixture
def files(tmp_path: Path) -> SecretFiles:
    """The folder, still empty."""
    return SecretFiles(tmp_path / "secrets", give_away=False)


@pytest.fixture
def ready_files(files: SecretFiles, sample_config: Path) -> SecretFiles:
    """The folder after the first `bootstrap`, with certificates that are good today."""
    bootstrap(files, sample_config, "localhost", datetime.now(UTC))
    return files
