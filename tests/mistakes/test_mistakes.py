"""Every command and every mistake that a person can make with it: words with the way out, an exit status, and never a traceback.

0: all is well; 1: what was examined is not, or is away now; 2: a mistake of whoever typed or configured.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace_contract.testing import Influxd, Mosquitto, free_port, wait_until

from .command_forks import MODULES
from .conftest import NOBODY, Commands, Ended, Running

pytestmark = pytest.mark.process

SPAN = "--from 2025-10-15T06:00:00Z --to 2025-10-15T14:00:00Z"
RECOMPUTE = f"millrace-oee recompute --device M-1 {SPAN}"
SERVICES = (
    "millrace-gateway run",
    "millrace-ingest run",
    "millrace-ingest rollup",
    "millrace-oee run",
    "millrace-alerts run",
    "millrace-sim run",
)
AT_THE_BROKER = SERVICES[:-1]
OWN_A_STORE = tuple(service for service in SERVICES if service != "millrace-ingest rollup")
READ_THE_PLANT = (
    *SERVICES,
    "millrace bootstrap",
    "millrace-gateway plan",
    "millrace-gateway read M-1",
    "millrace-ingest status",
    "millrace-oee replay events.jsonl",
    RECOMPUTE,
    "millrace-alerts replay events.jsonl",
    "millrace-alerts tune events.jsonl --rule hot",
    "millrace-sim history --days 1",
    "millrace-sim score",
)
ALONE = (
    ("millrace access list", 0, ""),
    ("millrace access revoke x", 2, "nothing is set up yet; start the platform first"),
    ("millrace bootstrap-influxdb", 2, "run `millrace bootstrap` first"),
    ("millrace demo --state /proc/none --seconds 1", 2, "/proc/none"),
    ("millrace-gateway plan M-2", 2, "there is no device 'M-2'"),
    ("millrace-gateway read M-2", 2, "there is no device 'M-2'"),
    ("millrace-gateway read M-1", 1, "nothing listens at 127.0.0.1"),
    ("millrace-gateway probe 127.0.0.1:1 --address 1", 1, "nothing listens at 127.0.0.1:1"),
    ("millrace-gateway scan 127.0.0.1:1", 1, "nothing listens at 127.0.0.1:1"),
    ("millrace-gateway profile import none.csv", 2, "none.csv cannot be read: No such file or directory"),
    ("millrace-ingest dead-letters list", 2, "holds no data of ingest; name the folder that the service uses"),
    ("millrace-ingest dead-letters show 1", 2, "holds no data of ingest"),
    ("millrace-ingest dead-letters replay --all", 2, "holds no data of ingest"),
    ("millrace-ingest archive verify none", 2, "none: No such file or directory"),
    ("millrace-ingest archive import none", 2, "none: No such file or directory"),
    ("millrace-ingest archive verify", 2, "MILLRACE_INGEST_ARCHIVE: is not set; name files or folders"),
    ("millrace-ingest archive export out --from 1h", 1, "does not answer"),
    ("millrace-ingest status", 1, "no answer from 127.0.0.1"),
    ("millrace-oee steps", 1, "does not answer: connection refused"),
    (f"millrace-oee period --device M-1 {SPAN}", 1, "does not answer: connection refused"),
    (f"millrace-oee explain M-1 {SPAN}", 1, "does not answer: connection refused"),
    ("millrace-oee date-back --from 2025-10-15T06:00:00Z", 2, "holds no master-data.json: oee has not run here"),
    ("millrace-oee replay none", 2, "none: cannot be read: No such file or directory"),
    ("millrace-oee replay events.jsonl --store none/oee.db", 2, "No such file or directory: none/oee.db.lock"),
    ("millrace-oee learn-thresholds --device M-2 --file events.jsonl", 2, "--device: no device 'M-2' in the plant model"),
    (RECOMPUTE.replace("M-1", "M-2"), 2, "no device 'M-2' with OEE in the plant model; there are: M-1"),
    (RECOMPUTE, 1, "does not answer: connection refused"),
    ("millrace-alerts replay none", 2, "none: cannot be read: No such file or directory"),
    ("millrace-alerts tune none --rule hot", 2, "none: cannot be read: No such file or directory"),
    ("millrace-alerts tune events.jsonl --rule cold", 2, "rules with a threshold: hot"),
    ("millrace-alerts archive", 2, "holds no alerts.db: alerts has not run with this folder"),
    ("millrace-sim fault", 1, "is it running, and is MILLRACE_HTTP_PORT the same?"),
    ("millrace-sim score", 2, "holds no truth: has millrace-sim run written to this folder?"),
)


def check(ended: Ended, code: int, *words: str) -> None:
    assert "Traceback" not in ended.said
    for each in words:
        assert each in ended.said
    assert ended.code == code, ended.said


@pytest.fixture
def served(commands: Commands) -> Iterator[list[Running]]:
    """What a test leaves running is ended."""
    running: list[Running] = []
    yield running
    for each in running:
        check(commands.end(each, kill=True), 0)


def test_every_command_is_in_these_tables(commands: Commands) -> None:
    tried = {*READ_THE_PLANT, *(command for command, _, _ in ALONE), "millrace check"}
    named = {" ".join(command.split()[:2]) for command in tried}
    for program in MODULES:
        told = commands.run(f"{program} --help").said
        verbs = re.findall(r"^    ([a-z][a-z-]*)(?:  | *$)", told, re.MULTILINE)
        assert verbs
        assert {f"{program} {verb}" for verb in verbs} - named - BEYOND.keys() == set()


BEYOND: dict[str, str] = {
    "millrace record": "its own tests: it listens until told to stop",
    "millrace doctor": "its own tests: what it finds is its answer",
    "millrace backup": "its own tests: volumes and archives are its matter",
}


@pytest.mark.parametrize(("command", "code", "words"), ALONE, ids=lambda value: str(value)[:60])
def test_a_mistake_with_one_command_is_answered_in_words(commands: Commands, command: str, code: int, words: str) -> None:
    (commands.folder / "events.jsonl").touch()
    check(commands.run(command), code, words)


@pytest.mark.parametrize("command", READ_THE_PLANT)
def test_a_configuration_that_is_missing_broken_or_unreadable(commands: Commands, command: str) -> None:
    (commands.folder / "events.jsonl").touch()
    check(commands.run(command, CONFIG=str(commands.folder / "none")), 2, "plant.yaml: is missing; expected in", "nothing started")
    plant = commands.config / "plant.yaml"
    plant.write_text(plant.read_text().replace("time_zone: UTC", "time_zone: Mars"))
    check(commands.run(command), 2, "plant.yaml:3: time_zone: 'Mars' is not a time zone", "nothing started")
    if os.geteuid() == 0 and command != "millrace bootstrap":  # that one gives files to others, which only root can
        plant.chmod(0)
        data = commands.folder / "data of nobody"
        data.mkdir()
        data.chmod(0o777)
        said = commands.run(command, user=NOBODY, DATA=str(data))
        check(said, 2, "plant.yaml: cannot be read", "Permission denied")


def test_check_names_what_is_missing_or_broken(commands: Commands) -> None:
    check(commands.run("millrace check", CONFIG=str(commands.folder / "none")), 1, "plant.yaml: is missing; expected in")
    (commands.config / "plant.yaml").write_text("root: [\n")
    check(commands.run("millrace check"), 1, "plant.yaml:")


@pytest.mark.parametrize("command", SERVICES)
def test_a_service_that_cannot_start_says_why_and_one_that_can_does_without_broker_and_database(
    commands: Commands, command: str, served: list[Running]
) -> None:
    (commands.folder / "file").touch()
    check(commands.run(command, DATA=str(commands.folder / "file")), 2, "MILLRACE_DATA: ", "is a file, no folder")
    check(commands.run(command, DATA=str(commands.folder / "file" / "data")), 2, "MILLRACE_DATA: ", "is a file, no folder")
    if os.geteuid() == 0:
        (commands.folder / "roots").mkdir()
        refused = commands.run(command, user=NOBODY, DATA=str(commands.folder / "roots"))
        check(refused, 2, "MILLRACE_DATA: ", "may not be written by user 65534; name a folder that the service may write")
    check(commands.run(command, HTTP_HOST="192.0.2.7"), 2, "MILLRACE_HTTP_HOST: 192.0.2.7", "this machine has no such address")
    if command in AT_THE_BROKER:
        check(commands.run(command, MQTT_CA=str(commands.folder / "none.pem")), 2, "MILLRACE_MQTT_CA: ", "No such file")
    running = commands.serve(command)
    served.append(running)
    if command in OWN_A_STORE:
        check(commands.run(command, HTTP_PORT=str(free_port())), 2, "in use by another", "nothing started")
    other = commands.run(command, DATA=str(commands.folder / "other"), SIM_BIND="127.0.0.2")
    place = f"MILLRACE_HTTP_PORT: 127.0.0.1:{running.port} cannot be used for "
    check(other, 2, place, "another program uses it; end that one, or choose another port")
    if command in AT_THE_BROKER:
        wait_until(lambda: "no answer from 127.0.0.1" in running.said, "its word on the broker")
        assert running.health("ready")[1]["needs"]["broker"] is False
        assert running.health("live")[0] == 200


def test_a_port_of_a_simulated_device_that_is_taken(commands: Commands, served: list[Running]) -> None:
    served.append(commands.serve("millrace-sim run"))
    second = commands.run("millrace-sim run", DATA=str(commands.folder / "other"), HTTP_PORT=str(free_port()))
    check(second, 2, "plant.yaml: port ", "cannot be used for M-1: another program uses it; end that one, or choose another port")


@pytest.mark.parametrize("command", ["millrace-gateway run", "millrace-oee run", "millrace-alerts run"])
def test_the_folder_of_another_instance_or_program(commands: Commands, command: str) -> None:
    check(commands.end(commands.serve(command), kill=True), 0)
    check(commands.run(command, INSTANCE="2"), 2, "MILLRACE_INSTANCE: ", "give the service its former instance back")


@pytest.mark.broker
@pytest.mark.parametrize("command", AT_THE_BROKER)
def test_a_wrong_password_at_the_broker_is_said_and_no_service_ends_of_it(
    commands: Commands, command: str, strict_broker: Mosquitto, served: list[Running]
) -> None:
    account = {"MQTT_PORT": str(strict_broker.port), "MQTT_USERNAME": "somebody", "MQTT_PASSWORD": "wrong-one"}
    running = commands.serve(command, environment=account)
    served.append(running)
    wait_until(lambda: "wrong user name or password" in running.said, "its word on the password")
    assert "wrong-one" not in running.said
    assert running.health("live")[0] == 200
    assert running.health("ready")[1]["needs"]["broker"] is False


@pytest.mark.broker
def test_a_wrong_password_ends_a_command(commands: Commands, strict_broker: Mosquitto) -> None:
    account = {"MQTT_PORT": str(strict_broker.port), "MQTT_USERNAME": "somebody", "MQTT_PASSWORD": "wrong-one"}
    check(commands.run("millrace-ingest status", environment=account), 1, "wrong user name or password")


@pytest.mark.influx
def test_a_refused_token_is_a_mistake_and_a_database_that_is_away_is_not(commands: Commands, shared_influxd: Influxd) -> None:
    served = commands.serve("millrace-sim run")
    check(commands.end(served, kill=True), 0)
    wrong = {"INFLUX_URL": shared_influxd.url, "INFLUX_TOKEN": "wrong-one"}
    for command in (RECOMPUTE, "millrace-sim score", "millrace-ingest archive export out --from 1h"):
        check(commands.run(command), 1, "does not answer: connection refused")
        refused = commands.run(command, environment=wrong)
        check(
            refused,
            2,
            "answers 401",
            "MILLRACE_INFLUX_TOKEN must be a token for bucket",
            "bootstrap-influxdb` makes both",
        )
        assert "wrong-one" not in refused.said
    running = commands.serve("millrace-ingest run", environment=wrong)
    wait_until(lambda: "answers 401" in running.said, "its word on the token")
    assert running.health("ready")[1]["needs"]["database"] is False
    check(commands.end(running, kill=True), 0)


def test_what_answers_at_the_address_of_the_database_is_none(commands: Commands, served: list[Running]) -> None:
    served.append(commands.serve("millrace-sim run"))
    said = commands.run(RECOMPUTE, INFLUX_URL=f"http://127.0.0.1:{served[0].port}")
    check(said, 2, "MILLRACE_INFLUX_")


@pytest.fixture(scope="module")
def strict_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    folder: Path = tmp_path_factory.mktemp("strict")
    if Mosquitto.binary() is None:
        pytest.skip("mosquitto is not on this machine")
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(folder / "passwords"), "somebody", "right"], check=True)
    broker = Mosquitto(folder / "broker", f"allow_anonymous false\npassword_file {folder / 'passwords'}")
    broker.start()
    yield broker
    broker.stop()
