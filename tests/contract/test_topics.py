"""Topics: what is built is what is parsed, filters match exactly their kind, and nothing else is taken for ours."""

from __future__ import annotations

import pytest

from millrace_contract.language.topics import Kind, Topic, Topics

ROOTS = ["factory", "acme/berlin/assembly"]


def _examples(topics: Topics) -> dict[str, Topic]:
    return {
        topics.telemetry("l", "d"): Topic(Kind.TELEMETRY, line="l", device="d"),
        topics.comms("l", "d"): Topic(Kind.COMMS, line="l", device="d"),
        topics.oee("l", "d"): Topic(Kind.OEE, line="l", device="d"),
        topics.oee("l", None): Topic(Kind.OEE, line="l"),
        topics.oee_window("l", "d"): Topic(Kind.OEE_WINDOW, line="l", device="d"),
        topics.oee_window("l", None): Topic(Kind.OEE_WINDOW, line="l"),
        topics.oee_interval("l", "d"): Topic(Kind.OEE_INTERVAL, line="l", device="d"),
        topics.alert("l", "d", "r"): Topic(Kind.ALERT, line="l", device="d", rule="r"),
        topics.alert("l", None, "r"): Topic(Kind.ALERT, line="l", rule="r"),
        topics.alert(None, None, "r"): Topic(Kind.ALERT, rule="r"),
        topics.alert_event("l", "d", "r"): Topic(Kind.ALERT_EVENT, line="l", device="d", rule="r"),
        topics.alert_event("l", None, "r"): Topic(Kind.ALERT_EVENT, line="l", rule="r"),
        topics.ask("oee", "period"): Topic(Kind.ASK, service="oee", verb="period"),
        topics.answer("oee", "alerts-1"): Topic(Kind.ANSWER, service="oee", sender="alerts-1"),
        topics.context("l", "d"): Topic(Kind.CONTEXT, line="l", device="d"),
        topics.context("l", None): Topic(Kind.CONTEXT, line="l"),
        topics.context_event("l", "d"): Topic(Kind.CONTEXT_EVENT, line="l", device="d"),
        topics.context_event("l", None): Topic(Kind.CONTEXT_EVENT, line="l"),
        topics.status("ingest", "1"): Topic(Kind.STATUS, service="ingest", instance="1"),
        topics.ledger("gateway", "edge-1"): Topic(Kind.LEDGER, service="gateway", instance="edge-1"),
        topics.stored("edge-1"): Topic(Kind.STORED, sender="edge-1"),
    }


def _matches(topic_filter: str, topic: str) -> bool:
    wanted, given = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(w in ("+", g) for w, g in zip(wanted, given, strict=True))


@pytest.mark.parametrize("root", ROOTS)
def test_what_is_built_is_what_is_parsed(root: str) -> None:
    topics = Topics(root)
    for text, topic in _examples(topics).items():
        assert topics.parse(text) == topic


@pytest.mark.parametrize("root", ROOTS)
def test_filters_match_every_topic_of_their_kind_and_parsing_sorts_out_the_rest(root: str) -> None:
    topics = Topics(root)
    for text, topic in _examples(topics).items():
        if topic.kind is Kind.ALERT_EVENT and topic.line is None:
            continue
        assert any(_matches(each, text) for each in topics.filters(topic.kind)), text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "factory",
        "factory/l",
        "factory/l/d",
        "factory/l/d/x",
        "other/l/d/telemetry",
        "factory/l/d/telemetry/x",
        "factory/_platform/x",
        "factory/a/b/c/d/e/f",
    ],
)
def test_anything_else_is_not_ours(text: str) -> None:
    assert Topics("factory").parse(text) is None
