"""One table of words and colours: what the page shows in a browser, and what the committed boards say, is what it says."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from millrace_alerts.api.page_words import LOOKS, words_script, words_style
from millrace_contract.language import looks, words
from millrace_contract.language.looks import Look, Tone
from millrace_contract.language.measurements import PACKML_CODES
from millrace_contract.language.messages import Comms, Status, encode
from millrace_contract.language.times import format_timestamp
from millrace_contract.testing import wait_until

from .chromium import Chromium
from .conftest import Running

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "services" / "alerts" / "src" / "millrace_alerts" / "web"
TABLES: list[tuple[Iterable[str], Mapping[Any, Look]]] = [
    (words.MachineState, looks.MACHINE_LOOKS),
    (words.Leaf, looks.LEAF_LOOKS),
    (words.Priority, looks.PRIORITY_LOOKS),
    (words.IsaState, looks.ALERT_LOOKS),
    (words.Quality, looks.QUALITY_LOOKS),
    (words.Evaluation, looks.EVALUATION_LOOKS),
]
PANELS = [
    (path.stem, panel)
    for path in sorted((REPOSITORY / "grafana" / "dashboards").glob("*.json"))
    for panel in json.loads(path.read_text())["panels"]
]


# ---- the table itself


@pytest.mark.parametrize(("known", "table"), TABLES, ids=lambda each: getattr(each, "__name__", ""))
def test_every_word_has_a_look_and_no_two_look_the_same(known: Iterable[str], table: Mapping[Any, Look]) -> None:
    assert set(table) == set(known)
    assert len({look.word for look in table.values()}) == len(table)


def test_every_state_of_comms_has_a_look() -> None:
    assert set(looks.COMMS_LOOKS) == {*words.CommsState, words.NOT_HEARD}


def test_states_of_one_tone_have_shapes_that_tell_what_they_are() -> None:
    settled = [state for state in words.MachineState if not state.endswith("ing")]
    shapes = [looks.MACHINE_LOOKS[state].shape for state in settled]
    assert "" not in shapes
    assert len(set(shapes)) == len(settled)


def _luminance(colour: str) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else math.pow((share + 0.055) / 1.055, 2.4)

    red, green, blue = (linear(int(colour[at : at + 2], 16)) for at in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["dark", "light"])
def test_running_standing_waiting_and_unknown_are_told_apart_in_greyscale(ground: str) -> None:
    shades = [[Tone.RUN], [Tone.STOP], [Tone.WAIT, Tone.SETUP, Tone.PLANNED, Tone.IDLE], [Tone.UNKNOWN]]
    assert {look.tone for look in looks.MACHINE_LOOKS.values()} <= set(itertools.chain(*shades))
    for some, others in itertools.combinations(shades, 2):
        for one, other in itertools.product(some, others):
            assert contrast(getattr(one, f"on_{ground}"), getattr(other, f"on_{ground}")) >= 1.5, (one, other)


@pytest.mark.parametrize("ground", ["dark", "light"])
def test_priorities_are_told_apart_in_greyscale(ground: str) -> None:
    colours = [getattr(looks.PRIORITY_LOOKS[each].tone, f"on_{ground}") for each in words.Priority]
    for one, other in itertools.combinations(colours, 2):
        assert contrast(one, other) >= 1.5, (one, other)


def test_every_tone_can_be_read_as_text_on_cards_of_the_page_and_panels_of_grafana() -> None:
    light, dark = re.findall(r"--card: (#\w+);", (WEB / "page.css").read_text())
    light = "#ffffff" if light == "#fff" else light
    for tone in Tone:
        assert contrast(tone.on_light, light) >= 4.5, tone
        assert contrast(tone.on_dark, dark) >= 4.5, tone
        assert contrast(tone.on_dark, "#181b1f") >= 4.5, tone  # the panels of Grafana's dark theme


# ---- the page


def test_page_spells_no_word_and_no_colour_of_a_state_itself() -> None:
    page = (WEB / "page.js").read_text()
    spelled = {word for word in re.findall(r'"(\w+)"', page) if word in {*words.MachineState, *words.IsaState, *words.Priority}}
    assert spelled <= {"SHLVD"}  # the only one that has a time of its own to show
    assert {tone.on_light for tone in Tone}.isdisjoint(re.findall(r"#[0-9a-f]{6}", (WEB / "page.css").read_text()))


def test_page_gets_every_word_and_colour_of_the_table() -> None:
    script, style = words_script(), words_style()
    told = json.loads(re.findall(r"export const LOOKS = (.*);", script)[0])
    for name, table in LOOKS.items():
        assert {word: (look["word"], look["shape"]) for word, look in told[name].items()} == {
            word: (look.word, look.shape) for word, look in table.items()
        }
        for word, look in table.items():
            assert f".look-{name}-{word} {{ --colour: var(--{look.tone}); }}" in style


TILES = """Object.fromEntries([...document.querySelectorAll(".machine")].map((tile) => [
  tile.querySelector(".name").textContent,
  [tile.querySelector(".word").lastChild.textContent, tile.querySelector(".shape").textContent,
   getComputedStyle(tile.querySelector(".word")).color, getComputedStyle(tile).borderLeftColor]]))"""
ALERTS = """[...document.querySelectorAll(".alert")].map((item) => [
  item.querySelector(".title").textContent,
  item.querySelector(".state").lastChild.textContent, getComputedStyle(item.querySelector(".state .shape")).color,
  item.querySelector(".priority").lastChild.textContent, getComputedStyle(item.querySelector(".priority")).color])"""


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.fixture
def page(running: Running, tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path, f"http://127.0.0.1:{running.settings.http_port}/") as shown:
        yield shown


def _shows(page: Chromium, device: str, look: Look, more: str = "") -> None:
    for scheme, colour in (("light", look.tone.on_light), ("dark", look.tone.on_dark)):
        page.prefer("light" if scheme == "light" else "dark")
        _wait_for(page, device, [look.word + more, look.shape, _rgb(colour), _rgb(colour)])


def _wait_for(page: Chromium, device: str, wanted: list[str]) -> None:
    try:
        wait_until(lambda: page.evaluate(TILES).get(device) == wanted, f"{device} to show {wanted}", 30)
    except TimeoutError as error:
        raise AssertionError(f"{error}; it shows {page.evaluate(TILES)}") from error


@pytest.mark.browser
def test_each_machine_state_has_its_word_shape_and_colour_on_the_page(running: Running, page: Chromium) -> None:
    _shows(page, "CNC-01", looks.NEVER_READ)
    for state in [each for each in words.MachineState if each not in words.NOT_TOLD]:
        running.measure("CNC-01", run_status=state.value)
        _shows(page, "CNC-01", looks.MACHINE_LOOKS[state])
    running.measure("CNC-01", run_status=words.MachineState.HELD.value)
    running.clock.advance(3_600)
    running.measure("CNC-02", run_status=words.MachineState.EXECUTE.value)
    _shows(page, "CNC-02", looks.MACHINE_LOOKS[words.MachineState.EXECUTE])
    _shows(page, "CNC-01", looks.STALE, " (held)")


@pytest.mark.browser
def test_an_offline_machine_looks_offline_and_not_as_it_stood(running: Running, page: Chromium) -> None:
    running.measure("CNC-01", run_status=words.MachineState.HELD.value)
    _shows(page, "CNC-01", looks.MACHINE_LOOKS[words.MachineState.HELD])
    now = format_timestamp(running.clock.now_ms())
    alive = Status(service="gateway", instance="edge-1", alive=True, timestamp=now)
    comms = Comms(device_id="CNC-01", state=words.CommsState.OFFLINE, since=now, timestamp=now, gateway="edge-1")
    running.receive("factory/_platform/gateway/edge-1/status", encode(alive))
    running.receive("factory/line1/CNC-01/comms", encode(comms))
    wait_until(lambda: running.get("/v1/devices/CNC-01").json()["comms"]["state"] == comms.state, "the service to know", 30)
    running.clock.advance(1)  # what pages share is made anew
    _shows(page, "CNC-01", looks.COMMS_LOOKS[words.CommsState.OFFLINE])


@pytest.mark.browser
def test_an_alert_has_the_words_and_colours_of_its_state_and_priority_on_the_page(running: Running, page: Chromium) -> None:
    running.raise_hot()
    page.prefer("dark")
    state, priority = looks.ALERT_LOOKS[words.IsaState.UNACK], looks.PRIORITY_LOOKS[words.Priority.HIGH]
    wanted = [["Too hot", state.word, _rgb(state.tone.on_dark), priority.word, _rgb(priority.tone.on_dark)]]
    wait_until(lambda: page.evaluate(ALERTS) == wanted, f"the page to show {wanted}", 30)


# ---- the boards


def _mappings(panel: Any) -> Iterator[dict[str, Any]]:
    defaults = panel["fieldConfig"]["defaults"].get("mappings") or []
    overrides = [
        value
        for override in panel["fieldConfig"].get("overrides") or []
        for part in override["properties"]
        if part["id"] == "mappings"
        for value in part["value"]
    ]
    for mapping in (*defaults, *overrides):
        yield mapping["options"]


STATE_PANELS = {"plant-overview: Machine states", "line: Machine states", "machine: State", "machine: States"}


def _painted(table: Mapping[Any, Look], codes: Mapping[Any, int] | None = None) -> dict[str, tuple[str, str]]:
    return {
        str(codes[word] if codes else word): (f"{look.shape} {look.word}".lstrip(), look.tone.on_dark)
        for word, look in table.items()
    }


@pytest.mark.parametrize(
    ("where", "table"),
    [
        (STATE_PANELS, _painted(looks.MACHINE_LOOKS, PACKML_CODES)),
        ({"plant-overview: Open alerts"}, _painted(looks.PRIORITY_LOOKS)),
        ({"plant-overview: Open alerts"}, _painted(looks.ALERT_LOOKS)),
        ({"line: Stops", "machine: Stops"}, _painted(looks.LEAF_LOOKS)),
    ],
    ids=["machine states", "priorities", "alert states", "leaves"],
)  # fmt: skip
def test_boards_have_the_same_words_and_colours(where: set[str], table: dict[str, tuple[str, str]]) -> None:
    found = {
        f"{board}: {panel['title']}"
        for board, panel in PANELS
        for options in _mappings(panel)
        if {word: (each["text"], each["color"]) for word, each in options.items()} == table
    }
    assert where <= found


def test_bars_of_losses_have_the_words_and_colours_of_their_leaves() -> None:
    by_word = {look.word: look.tone.on_dark for look in looks.LEAF_LOOKS.values()}
    found: dict[str, str] = {}
    for _, panel in PANELS:
        if panel["title"] in ("Time of the shift", "Lost time by week"):
            for override in panel["fieldConfig"]["overrides"]:
                found[override["matcher"]["options"]] = override["properties"][0]["value"]["fixedColor"]
    assert found == {word: colour for word, colour in by_word.items() if word != "outside shifts"}


def test_no_board_has_a_colour_that_is_not_in_the_table() -> None:
    known = {tone.on_dark for tone in Tone} | {"text"}
    for board, panel in PANELS:
        found = set(re.findall(r'"(?:color|fixedColor)": "([^"]+)"', json.dumps(panel)))
        assert found <= known, f"{board}: {panel['title']} has {sorted(found - known)}"
