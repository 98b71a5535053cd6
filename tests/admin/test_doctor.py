"""Broken set-ups, and what doctor makes of what it gathered of each: the cause, what mends it, and the exit status."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from millrace_admin.doctor.access import read_rules
from millrace_admin.doctor.commands import COMPOSE, demo_commands
from millrace_admin.doctor.evidence import DiskFacts, Evidence, StatusFacts
from millrace_admin.doctor.examine import examine
from millrace_admin.doctor.finding import EXIT_FINE, exit_status
from millrace_admin.doctor.host_report import disks_of, processes_of, read_sections
from millrace_admin.doctor.telling import lines_of
from millrace_contract.language.measurements import BUCKETS, PRODUCTION_BUCKET
from millrace_contract.language.times import format_timestamp
from millrace_contract.language.words import Prognosis
from millrace_contract.plant.versions import SHARE, plant_in_use

from . import doctor_evidence as seen
from .doctor_evidence import NOW_MS, well
from .doctor_setups import REFUSED_TOPIC, SETUPS, Broken

each_setup = pytest.mark.parametrize("broken", SETUPS.values(), ids=SETUPS)


def test_nothing_is_wrong_with_a_platform_on_which_all_is_well() -> None:
    findings = examine(well())
    assert {finding.prognosis for finding in findings} == {Prognosis.FINE}, [
        one for one in findings if one.prognosis != Prognosis.FINE
    ]
    assert exit_status(findings) == EXIT_FINE


@each_setup
def test_doctor_says_the_cause_and_what_mends_it(broken: Broken) -> None:
    findings = examine(broken.change(well()))
    assert exit_status(findings) == broken.exit, findings
    if broken.subject:
        told = [one for one in findings if one.subject == broken.subject and broken.cause in one.cause and broken.mend in one.mend]
        assert told, [one for one in findings if one.prognosis is not Prognosis.FINE]
    for finding in findings:
        assert finding.prognosis is not Prognosis.ACT or finding.mend, f"{finding} does not say what to do"


@each_setup
def test_a_cause_is_said_once_and_not_by_each_who_waits(broken: Broken) -> None:
    urgent = [one for one in examine(broken.change(well())) if one.prognosis in (Prognosis.ACT, Prognosis.MENDS)]
    assert len(urgent) <= 2, urgent


def test_who_waits_for_a_database_that_is_gone_is_named_beside_it() -> None:
    findings = examine(SETUPS["the database is stopped"].change(well()))
    assert any(one.prognosis is Prognosis.NOTE and "ingest, rollup" in one.cause for one in findings), findings


def test_what_could_not_be_looked_at_is_not_said_to_be_fine() -> None:
    blind = Evidence(now_ms=NOW_MS, version="0.1.0")
    assert examine(blind) == []


def test_two_parts_with_one_complaint_are_one_finding_each_and_not_four() -> None:
    problem = "the disk refuses the outbox: database or disk is full"
    broken = seen.with_status(seen.with_status(well(), "oee", problems=[problem]), "gateway", problems=[problem])
    assert sorted(one.subject for one in examine(broken) if one.prognosis is Prognosis.ACT) == ["gateway edge-1", "oee"]


def test_a_service_here_is_mended_here_and_a_gateway_elsewhere_there() -> None:
    broken = seen.with_status(well(), "alerts", problems=["something new is wrong"])
    broken = seen.with_status(broken, "gateway", instance="edge-2", problems=["something else is wrong"])
    mends = {one.subject: one.mend for one in examine(broken) if one.prognosis is Prognosis.ACT}
    assert mends == {
        "alerts": "docker compose logs --since 10m alerts",
        "gateway edge-2": "on the computer of gateway edge-2: millrace-edge check",
    }


def test_commands_are_those_of_the_place() -> None:
    """An edit that nobody took, with Docker and in a demo."""
    late = plant_in_use("0123456789ab", 12, NOW_MS, {SHARE: "ba9876543210"})
    broken = seen.with_status(seen.with_status(well(), "gateway", plant=late), "oee", plant=late)
    for commands, mend in (
        (COMPOSE, "docker compose restart gateway oee"),
        (demo_commands("var/demo"), "kill $(cat var/demo/logs/gateway.pid var/demo/logs/oee.pid), and the demo starts it again"),
    ):
        told = [one for one in examine(replace(broken, commands=commands)) if one.prognosis is Prognosis.ACT]
        assert [(one.subject, one.mend) for one in told] == [("plant.yaml", mend)]


def test_a_wrong_password_that_the_files_show_is_one_finding() -> None:
    broken = SETUPS["a wrong broker password of the gateway"].change(well())
    broken = seen.with_access(broken, passwords_fit={"gateway-edge-1": False})
    assert [one.subject for one in examine(broken) if one.prognosis is Prognosis.ACT] == ["accounts"]


def test_who_is_refused_because_of_the_rules_is_not_told_beside_them() -> None:
    broken = seen.with_status(SETUPS["access rules without telemetry"].change(well()), "gateway", problems=[REFUSED_TOPIC])
    told = [one.subject for one in examine(broken) if one.prognosis is Prognosis.ACT]
    assert set(told) == {"accounts"}


def test_alerts_that_lack_the_broker_wait_for_nothing_else() -> None:
    broken = seen.with_broker(well(), reach="nothing listens at mosquitto:1883")
    broken = seen.with_part(broken, "alerts", lacks=("broker", "watching"))
    assert not [one for one in examine(broken) if one.subject == "alerts"]


def test_a_service_that_hangs_is_told_from_one_that_is_gone() -> None:
    old = format_timestamp(NOW_MS - 300_000)
    statuses = [StatusFacts(seen.status("oee", timestamp=old), NOW_MS - 11_000, is_fresh=False)]
    kept = [one for one in well().statuses or () if one.status.service != "oee"]
    broken = replace(well(), statuses=(*kept, *statuses), parts=tuple(part for part in well().parts if part.name != "oee"))
    told = [one for one in examine(broken) if one.prognosis is Prognosis.ACT]
    assert [(one.subject, "it hangs" in one.cause) for one in told] == [("oee", True)]


def test_text_has_a_line_a_finding_and_json_an_object() -> None:
    findings = examine(SETUPS["a deleted bucket"].change(well()))
    text = "\n".join(lines_of(findings, as_json=False))
    assert "▲ needs somebody database bucket telemetry is not there" in " ".join(text.split())
    assert text.endswith("1 thing needs somebody")
    rows = [json.loads(line) for line in lines_of(findings, as_json=True)]
    assert len(rows) == len(findings)
    assert {"prognosis", "subject", "cause", "mend"} == set(rows[0])


def test_rules_are_read_as_the_broker_reads_them() -> None:
    rules = read_rules("topic read all/#\nuser a b\ntopic deny f/_platform/+/telemetry\ntopic write f/+/+/telemetry\ntopic c\n")
    of_a = rules["a b"]
    assert of_a.may("write", "f/line1/M-1/telemetry")
    assert not of_a.may("read", "f/line1/M-1/telemetry")
    assert not of_a.may("write", "f/_platform/M-1/telemetry"), "a deny wins"
    assert of_a.may("read", "c")
    assert not of_a.may("read", "all/x"), "what stands before the first account is for nobody with a name"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rules: rules + "\nuser guest\ntopic readwrite #\n", "guest may readwrite #, too"),
        (lambda rules: rules.replace("user oee-1\n", "user oee-1\ntopic write factory/#\n"), "oee-1 may write factory/#, too"),
        (lambda rules: rules.replace("user oee-1\n", "user oee-1\ntopic deny factory/#\n"), "oee-1 is kept from factory/#"),
    ],
)
def test_rules_that_allow_more_or_less_than_the_accounts_are_told(change: Callable[[str], str], said: str) -> None:
    access = well().access
    assert access is not None
    findings = examine(seen.with_access(well(), rules=change(access.rules or "")))
    assert [said in one.cause for one in findings if one.prognosis is Prognosis.ACT] == [True]


REPORT = """=== services
bootstrap
ingest
oee
simulator
=== containers
{"service":"ingest","oneoff":"False","restarts":2,"state":{"Status":"running","ExitCode":0,"OOMKilled":false,"StartedAt":"2026-09-21T14:13:18.123456789Z","Health":{"Status":"healthy"}}}
{"service":"bootstrap","oneoff":"False","restarts":0,"state":{"Status":"exited","ExitCode":0,"OOMKilled":false,"StartedAt":"2026-09-21T13:13:10Z"}}
{"service":"admin","oneoff":"True","restarts":0,"state":{"Status":"running","ExitCode":0,"StartedAt":"2026-09-21T13:13:10Z"}}
=== disk ingest
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/vda1         65687396 57014952   5346060      92% /var/lib/millrace
=== logs oee
 one
 === two
"""


def test_what_was_seen_outside_of_the_containers_is_read() -> None:
    sections = read_sections(REPORT)
    found = {one.name: one for one in processes_of(sections, NOW_MS)}
    assert sorted(found) == ["bootstrap", "ingest", "oee", "simulator"], "doctor itself is no part of the platform"
    assert (found["ingest"].state, found["ingest"].restarts, found["ingest"].age_s) == ("running", 2, 2.0)
    assert (found["oee"].state, found["oee"].is_wanted) == ("missing", True)
    assert not found["simulator"].is_wanted
    assert found["bootstrap"].is_once
    assert found["oee"].last_words == ""
    assert disks_of(sections) == (DiskFacts("ingest", 65687396 * 1024, 5346060 * 1024),)
    assert PRODUCTION_BUCKET in BUCKETS
