"""The boards as Chromium draws them, in kiosk mode without a log-in: no error, no empty panel, everything on one screen."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.testing import Influxd, free_port, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.influx]

GRAFANA = Path(__file__).resolve().parents[2] / "grafana"
HOURS_MS = 8 * 3_600_000
BOARDS = {
    "millrace-plant": "kiosk&autofitpanels&from={hours}&to={now}",
    "millrace-line": "kiosk&autofitpanels&var-line=line1&from={hours}&to={now}",
    "millrace-health": "kiosk&from={quarter}&to={now}",
    "millrace-year": "kiosk&autofitpanels&var-line=line1&var-device=CNC-01&var-signal=temperature",
    "millrace-machine": "kiosk&from={quarter}&to={now}&var-line=line1&var-device=CNC-01",
}
"""With the time that the data are of: however long the tests before this one took, they are drawn as if it were now."""


@pytest.fixture(scope="module")
def grafana_url(plant_influxd: Influxd, stand_in: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("grafana")
    (folder / "millrace").mkdir()
    (folder / "millrace" / "influx_token").write_text(plant_influxd.TOKEN)
    port = free_port()
    environment = {
        **os.environ,
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(folder),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "MILLRACE_INFLUX_URL": plant_influxd.url,
    }
    maps = ("--map", f"/etc/grafana/dashboards={GRAFANA / 'dashboards'}", "--map", f"/run/secrets={folder}")
    command = [sys.executable, str(stand_in), "--provisioning", str(GRAFANA / "provisioning"), *maps]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            wait_until(lambda: _answers(url) or process.poll() is not None, "Grafana", timeout_s=30)
            assert process.poll() is None, (folder / "log").read_text()
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/api/health", timeout=1).close()
    except OSError:
        return False
    return True


def _chromium(url: str, *options: str) -> str:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium on PATH")
        pytest.skip("no Chromium on PATH")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--window-size=1920,1080",
        "--virtual-time-budget=20000", *options, url,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def _drawn(url: str, picture: Path) -> str:
    """The page; drawn again where a connection to the server was refused, because its queue of connections is short."""
    page = ""
    for _ in range(3):
        page = _chromium(url, "--dump-dom", f"--screenshot={picture}")
        if "Failed to fetch" not in page:
            break
    return page


@pytest.mark.parametrize("uid", BOARDS)
def test_board_is_drawn_without_error_or_empty_panel(
    grafana_url: str, quarter_ms: tuple[int, int], uid: str, tmp_path: Path
) -> None:
    # The picture stays in pytest's temporary folder (or MILLRACE_SCREENSHOTS) for a person to look at.
    folder = Path(os.environ.get("MILLRACE_SCREENSHOTS", tmp_path))
    # Without refreshing: the picture could be taken while a second round of queries is on its way.
    query = BOARDS[uid].format(quarter=quarter_ms[0], hours=quarter_ms[1] - HOURS_MS, now=quarter_ms[1])
    url = f"{grafana_url}/d/{uid}?{query}&refresh=off"
    page = _drawn(url, folder / f"{uid}.png")
    assert page.count("data-panel-id") >= 7, "the board has no panels"
    shown = re.sub(r"<(script|style|title)\b.*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL).lower()
    assert not re.findall(r'class="[^"]*\berror\b[^"]*"[^>]*>([^<]+)', page)
    assert "no data" not in shown
    assert "$" not in shown, "a variable or macro was not replaced"
    assert (folder / f"{uid}.png").stat().st_size > 20_000
