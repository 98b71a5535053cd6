from __future__ import annotations

from collections.abc import Callable

import pytest

from millrace_admin.broker_accounts import (
    Account,
    Rights,
    Role,
    hash_password,
    name_problem,
    password_matches,
    render_access_rules,
    render_passwords,
    topic_filter_problem,
)
from millrace_contract.plant import PlantModel

HASH = hash_password("secret")
RIGHTS = Rights(
    ("line1", "line2"),
    {"CNC-01": ("edge-1",), "CNC-02": ("edge-1", "edge-2"), "OLD-01": ("edge-2",)},
    frozenset({"CNC-01", "CNC-02"}),
    {"CNC-01": ("line1",), "CNC-02": ("line1", "line2")},
)


def rules_of(rendered: str, user: str) -> list[str]:
    block = next(block for block in rendered.split("\n\n") if block.splitlines()[0] == f"user {user}")
    return block.splitlines()[1:]


def test_hash_has_the_form_that_mosquitto_reads() -> None:
    empty, kind, rounds, salt, digest = HASH.split("$")
    assert (empty, kind, rounds) == ("", "7", "1000")
    assert (len(salt), len(digest)) == (16, 88)


def test_two_hashes_of_one_password_differ_and_both_match() -> None:
    other = hash_password("secret")
    assert other != HASH
    assert password_matches("secret", HASH)
    assert password_matches("secret", other)
    assert not password_matches("Secret", HASH)


def test_hash_made_by_mosquitto_passwd_matches() -> None:
    made = "$7$101$aXYsn54m6tJXR76J$mi1LNItPwEpNg2Z3fPkqJiEXvek4ef2rlXVB/j942ax2SemJ2UYPgE72fuRdLZJE2UpT0XbiUg8S7y0UBPaUcg=="
    assert password_matches("secret-word", made)
    assert not password_matches("secret-wort", made)


def test_publisher_may_write_the_telemetry_of_its_device_and_nothing_else() -> None:
    account = Account("scale", Role.PUBLISHER, HASH, "2026-01-01T00:00:00Z", device="SCALE-01")
    assert rules_of(render_access_rules("factory", [account], RIGHTS), "scale") == [
        "topic write factory/line1/SCALE-01/telemetry",
        "topic write factory/line2/SCALE-01/telemetry",
    ]
    named = Account("scale", Role.PUBLISHER, HASH, "2026-01-01T00:00:00Z", device="SCALE-01", line="yard")
    assert rules_of(render_access_rules("factory", [named], RIGHTS), "scale") == ["topic write factory/yard/SCALE-01/telemetry"]


def test_healthcheck_may_do_nothing() -> None:
    account = Account("healthcheck", Role.HEALTHCHECK, HASH, "2026-01-01T00:00:00Z")
    assert render_access_rules("factory", [account], RIGHTS).endswith("\n\nuser healthcheck\n")


def test_gateway_of_one_instance_speaks_for_its_own_devices_below_their_lines_only() -> None:
    """Present and past ones; a device of which no line is known, for it was gone before lines were kept, below any."""
    account = Account("gateway-edge-2", Role.GATEWAY, HASH, "2026-01-01T00:00:00Z", instance="edge-2")
    rules = rules_of(render_access_rules("factory", [account], RIGHTS), "gateway-edge-2")
    assert [rule for rule in rules if "read" not in rule] == [
        "topic deny factory/_platform/+/telemetry",
        "topic deny factory/_platform/+/comms",
        "topic write factory/+/OLD-01/telemetry",
        "topic write factory/line1/CNC-02/telemetry",
        "topic write factory/line2/CNC-02/telemetry",
        "topic write factory/+/OLD-01/comms",
        "topic write factory/line1/CNC-02/comms",
        "topic write factory/line2/CNC-02/comms",
        "topic write factory/_platform/gateway/edge-2/status",
        "topic write factory/_platform/gateway/edge-2/ledger",
    ]


def test_line_of_many_devices_is_one_rule_that_leaves_out_who_is_anothers() -> None:
    names = [f"D-{number:04}" for number in range(1_000)]
    gateways: dict[str, tuple[str, ...]] = {"X-1": ("edge-2",), **dict.fromkeys(names, ("edge-1",))}
    rights = Rights(("line1", "line2"), gateways, frozenset(gateways), dict.fromkeys(gateways, ("line1",)))
    scale = Account("scale", Role.PUBLISHER, HASH, "2026-01-01T00:00:00Z", device="SCALE-01")
    account = Account("gateway-edge-1", Role.GATEWAY, HASH, "2026-01-01T00:00:00Z", instance="edge-1")
    rules = rules_of(render_access_rules("factory", [account, scale], rights), "gateway-edge-1")
    assert [rule for rule in rules if "read" not in rule] == [
        "topic deny factory/line1/SCALE-01/telemetry",
        "topic deny factory/line1/SCALE-01/comms",
        "topic deny factory/line1/X-1/telemetry",
        "topic deny factory/line1/X-1/comms",
        "topic write factory/line1/+/telemetry",
        "topic write factory/line1/+/comms",
        "topic write factory/_platform/gateway/edge-1/status",
        "topic write factory/_platform/gateway/edge-1/ledger",
    ]


def test_line_of_two_large_gateways_names_each_device() -> None:
    gateways: dict[str, tuple[str, ...]] = {f"D-{number:04}": (f"edge-{1 + number % 2}",) for number in range(200)}
    rights = Rights(("line1",), gateways, frozenset(gateways), dict.fromkeys(gateways, ("line1",)))
    account = Account("gateway-edge-1", Role.GATEWAY, HASH, "2026-01-01T00:00:00Z", instance="edge-1")
    rules = rules_of(render_access_rules("factory", [account], rights), "gateway-edge-1")
    assert "topic write factory/line1/D-0000/telemetry" in rules
    assert not [rule for rule in rules if "deny" in rule or "line1/+" in rule or "D-0001" in rule]


def test_rights_remember_where_a_device_stood_and_who_read_it(write_plant: Callable[..., PlantModel]) -> None:
    first = Rights().with_plant(write_plant({"line1": {"CNC-01": "edge-1"}, "line2": {}}))
    moved = first.with_plant(write_plant({"line1": {}, "line2": {"CNC-01": "edge-2"}}))
    gone = moved.with_plant(write_plant({"line2": {"CNC-02": "edge-2"}}))
    assert moved == Rights(
        ("line1", "line2"), {"CNC-01": ("edge-1", "edge-2")}, frozenset({"CNC-01"}), {"CNC-01": ("line1", "line2")}
    )
    assert (gone.lines, gone.devices) == (("line2",), frozenset({"CNC-02"}))
    assert (gone.gateways["CNC-01"], gone.places["CNC-01"]) == (("edge-1", "edge-2"), ("line1", "line2"))


def test_a_reader_hears_what_the_plant_tells_and_writes_nothing() -> None:
    rules = rules_of(render_access_rules("factory", [Account("mes", Role.READER, HASH, "2026-01-01T00:00:00Z")], RIGHTS), "mes")
    assert {rule.split()[1] for rule in rules} == {"read"}
    heard = {rule.split()[2] for rule in rules}
    assert {"factory/+/+/oee/window", "factory/+/oee", "factory/+/+/alert/+", "factory/+/alert/+/event"} <= heard
    assert not [topic for topic in heard if "_platform" in topic or "#" in topic]


def test_only_alerts_asks_and_a_service_answers_only_what_is_asked_of_it() -> None:
    roles = [(role, role.value if role in {Role.ADMIN, Role.READER} else f"{role}-1") for role in Role]
    accounts = [Account(name, role, HASH, "", instance="1") for role, name in roles]
    rendered = render_access_rules("factory", accounts, RIGHTS)
    for role, name in roles:
        about = [rule for rule in rules_of(rendered, name) if "/ask/" in rule or "/answer/" in rule]
        match role:
            case Role.ALERTS:
                assert about == ["topic write factory/_platform/ask/+/+", "topic read factory/_platform/answer/+/alerts-1"]
            case Role.OEE:
                assert about == ["topic write factory/_platform/answer/oee/+", "topic read factory/_platform/ask/oee/+"]
            case _:
                assert not about, role


def test_nobody_but_ingest_confirms() -> None:
    accounts = [Account(role, role, HASH, "2026-01-01T00:00:00Z") for role in Role if role is not Role.PUBLISHER]
    rendered = render_access_rules("factory", accounts, RIGHTS)
    confirming = [
        account.role for account in accounts if "topic write factory/_platform/stored/+" in rules_of(rendered, account.name)
    ]
    assert confirming == [Role.INGEST]


def test_password_file_is_sorted_so_that_it_changes_only_when_an_account_does() -> None:
    accounts = [Account(name, Role.OEE, HASH, "2026-01-01T00:00:00Z") for name in ("b", "a")]
    assert render_passwords(accounts) == render_passwords(reversed(accounts)) == f"a:{HASH}\nb:{HASH}\n"


def test_a_publisher_may_not_speak_for_a_device_that_a_gateway_reads() -> None:
    account = Account("scale", Role.PUBLISHER, HASH, "2026-01-01T00:00:00Z", device="CNC-01")
    assert rules_of(render_access_rules("factory", [account], RIGHTS), "scale") == []


def test_accounts_from_outside_are_not_called_like_a_client_of_a_service() -> None:
    for name in ("ingest", "ingest-1", "gateway-edge-1", "oee-1"):
        assert name_problem(name) is not None, name
    for name in ("scale", "oeester", "line-1"):
        assert name_problem(name) is None, name


SENSORS = Rights(
    ("line1",),
    {"PLUG-7": ("edge-1",), "HALL-3": ("edge-2",)},
    frozenset({"PLUG-7", "HALL-3"}),
    {"PLUG-7": ("line1",), "HALL-3": ("line1",)},
    {"PLUG-7": ("tele/plug-7/SENSOR",), "HALL-3": ("zigbee2mqtt/hall-3", "zigbee2mqtt/hall-3/power")},
)


def test_a_sensors_account_writes_its_topics_and_its_gateway_reads_them() -> None:
    made = "2026-01-01T00:00:00Z"
    gateways = [Account(f"gateway-{name}", Role.GATEWAY, HASH, made, instance=name) for name in ("edge-1", "edge-2")]
    sensor = Account("hall", Role.PUBLISHER, HASH, made, device="HALL-3")
    bridge = Account("zigbee", Role.PUBLISHER, HASH, made, topic="zigbee2mqtt/#")
    rendered = render_access_rules("factory", [*gateways, sensor, bridge], SENSORS)
    own = SENSORS.sensors["HALL-3"]
    assert rules_of(rendered, "hall") == [f"topic write {topic}" for topic in own]
    assert rules_of(rendered, "zigbee") == ["topic write zigbee2mqtt/#"]
    foreign = {
        name: [rule for rule in rules_of(rendered, name) if "read" in rule and "factory" not in rule]
        for name in ("gateway-edge-1", "gateway-edge-2")
    }
    assert foreign["gateway-edge-1"] == ["topic read tele/plug-7/SENSOR"]
    assert foreign["gateway-edge-2"] == [f"topic read {topic}" for topic in own]


@pytest.mark.parametrize(
    "taken", ["#", "+/#", "acme/#", "acme/+/x", "acme/berlin", "acme/berlin/#", "a/#/b", "a+", "", "/a", "$SYS/#", "a\nb"]
)
def test_a_bridge_may_not_write_what_is_ours(taken: str) -> None:
    assert topic_filter_problem(taken, "acme/berlin") is not None


@pytest.mark.parametrize("free", ["zigbee2mqtt/#", "tele/+/SENSOR", "acme/munich/#", "acmes/#", "shellies/x"])
def test_a_bridge_may_write_topics_of_its_own(free: str) -> None:
    assert topic_filter_problem(free, "acme/berlin") is None
