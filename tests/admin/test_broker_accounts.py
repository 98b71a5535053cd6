from __future__ import annotations

from millrace_admin.broker_accounts import Account, Role, hash_password, password_matches, render_access_rules, render_passwords

HASH = hash_password("secret")


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
    assert rules_of(render_access_rules("factory", [account]), "scale") == ["topic write factory/+/SCALE-01/telemetry"]


def test_healthcheck_may_do_nothing() -> None:
    account = Account("healthcheck", Role.HEALTHCHECK, HASH, "2026-01-01T00:00:00Z")
    assert render_access_rules("factory", [account]).endswith("\n\nuser healthcheck\n")


def test_gateway_added_by_hand_speaks_for_its_own_instance_only() -> None:
    account = Account("gateway-edge-2", Role.GATEWAY, HASH, "2026-01-01T00:00:00Z", instance="edge-2")
    writes = [rule for rule in rules_of(render_access_rules("factory", [account]), "gateway-edge-2") if "write" in rule]
    assert writes == [
        "topic write factory/+/+/telemetry",
        "topic write factory/+/+/comms",
        "topic write factory/_platform/gateway/edge-2/status",
        "topic write factory/_platform/gateway/edge-2/ledger",
    ]


def test_nobody_but_ingest_confirms() -> None:
    accounts = [Account(role, role, HASH, "2026-01-01T00:00:00Z") for role in Role if role is not Role.PUBLISHER]
    rendered = render_access_rules("factory", accounts)
    confirming = [
        account.role for account in accounts if "topic write factory/_platform/stored/+" in rules_of(rendered, account.name)
    ]
    assert confirming == [Role.INGEST]


def test_password_file_is_sorted_so_that_it_changes_only_when_an_account_does() -> None:
    accounts = [Account(name, Role.OEE, HASH, "2026-01-01T00:00:00Z") for name in ("b", "a")]
    assert render_passwords(accounts) == render_passwords(reversed(accounts)) == f"a:{HASH}\nb:{HASH}\n"


def test_a_publisher_may_not_speak_for_a_device_that_a_gateway_reads() -> None:
    account = Account("scale", Role.PUBLISHER, HASH, "2026-01-01T00:00:00Z", device="CNC-01")
    allowed = rules_of(render_access_rules("factory", [account]), "scale")
    assert allowed == ["topic write factory/+/CNC-01/telemetry"]
    assert rules_of(render_access_rules("factory", [account], frozenset({"CNC-01"})), "scale") == []
