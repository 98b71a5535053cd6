"""Tag lists become profiles: golden cases, each beside the profile and the notes, or the refusal, that it must give; and units."""

from __future__ import annotations

import contextlib
import json
import random
import re
from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant.profile_files import load_profiles
from millrace_gateway.__main__ import main
from millrace_gateway.tag_lists import import_tags
from millrace_gateway.tag_lists.tags import Unclear
from millrace_gateway.tag_lists.units import is_ucum, read_unit

CASES = Path(__file__).resolve().parents[1] / "cases" / "tag_lists"
ANSWERS = {"profile.yaml", "notes", "refusal", "arguments"}
TAGS = """Tag Name;Modicon Address;Data Type;Engineering Unit;Scale Factor;Byte Order;Comment
Spindle Temperature;40101;REAL;°C;;word swap;"bearing, front"
MotorSpeed;40111;UINT;rpm;0,1;;
Overload;40021.3;BOOL;;;;
Door;10001;BOOL;;;;
Energy;400200;DWORD;kWh;1/100;;
Program;30041;STRING(16);;;;
"""


def load(text: str, folder: Path) -> dict[str, object]:
    (folder / "acme-x.yaml").write_text(text)
    profiles, documents = load_profiles(folder)
    assert [problem for document in documents for problem in document.problems] == []
    return {
        name: (s.table, s.address, s.type, s.registers, s.order, s.scale, s.unit, s.bit)
        for name, s in profiles["acme-x"].register_signals.items()
    }


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationProblems) as refused:
        import_tags(text, "tags.csv", title="X")
    return [str(problem) for problem in refused.value.problems]


def test_a_list_as_engineers_write_it_becomes_a_profile(tmp_path: Path) -> None:
    made = import_tags(TAGS, "tags.csv", title="Acme: X")
    assert made.signals == 6
    assert load(made.text, tmp_path) == {
        "spindle_temperature": ("holding", 100, "float32", 2, "CDAB", 1.0, "Cel", None),
        "motor_speed": ("holding", 110, "uint16", 1, "ABCD", 0.1, "1/min", None),
        "overload": ("holding", 20, "uint16", 1, "ABCD", 1.0, "", 3),
        "door": ("discrete", 0, "bit", 1, "ABCD", 1.0, "", None),
        "energy": ("holding", 199, "uint32", 2, "ABCD", 0.01, "kW.h", None),
        "program": ("input", 40, "string", 8, "ABCD", 1.0, "", None),
    }


def test_addresses_from_zero_and_from_one(tmp_path: Path) -> None:
    text = import_tags("name,address,type,fc\na,0x10,int16,4\nb,17,U16,3\n", "tags.csv", title="X").text
    places = load(text, tmp_path)
    assert [place[:3] for place in places.values() if isinstance(place, tuple)] == [
        ("input", 16, "int16"),
        ("holding", 17, "uint16"),
    ]
    text = import_tags("name,address,type\na,5,string_high(7)\n", "tags.csv", title="X").text
    assert "type: string_high, registers: 7" in text
    text = import_tags("name,register number,type\na,17,INT\n", "tags.csv", title="X").text
    assert "address: 16, type: int16" in text


def test_every_bad_row_is_named() -> None:
    rows = """name,address,type,scale
good,1,int16,
,2,int16,
high,40011,int16,
odd,5,int24,
which,6,BOOL,
byte,7,SINT,
twice,8,int16,
Twice,9,int16,
text,10,string,
far,70000,int16,
broken,12,int16,ten
edge,65535,float32,
"""
    assert problems(rows) == [
        "tags.csv:3: name: is empty",
        "tags.csv:4: address: 40011 looks like a reference number: name the column reference, or write 10",
        "tags.csv:5: type: 'int24' is not known; write one of bcd16, bcd32, bit, epoch32, epoch64, float16, float32, float64, "
        "int16, int32, int64, int8_high, int8_low, string, string_high, string_low, uint16, uint32, uint64, uint8_high, uint8_low",
        "tags.csv:6: bit: which bit of the holding register? write the address as 100.3, or a column bit",
        "tags.csv:7: type: SINT is one byte of a register: write int8_high, int8_low, uint8_high or uint8_low",
        "tags.csv:9: name: 'Twice' becomes twice, as line 8 did; give one another name",
        "tags.csv:10: registers: a string needs its length: a column registers, or length in characters, or STRING(16)",
        "tags.csv:11: address: 70000 is no address: 0 to 65535",
        "tags.csv:12: scale: 'ten' is no number",
        "tags.csv:13: edge: ends at 65536, beyond the last address 65535",
    ]


def test_a_header_that_leaves_something_open_is_asked_about() -> None:
    (asked,) = problems("name,register,type\na,1,int16\n")
    assert "column 'register' leaves open where counting begins; call it address (from 0, as on the wire)" in asked
    assert problems("tag,address,reference,type\n") == [
        "tags.csv:1: header: address and reference both say where a value stands; leave one out"
    ]
    assert problems("address\n1\n") == [
        "tags.csv:1: header: there is no column name",
        "tags.csv:1: header: there is no column type",
    ]
    assert problems("name,address,type\n") == ["tags.csv: has a header but no rows"]


def test_the_command_prints_a_profile_that_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tags = tmp_path / "Press 7.csv"
    tags.write_bytes(TAGS.encode("cp1252"))
    assert main(["profile", "import", str(tags), "--title", "Press 7: new"]) == 0
    printed = capsys.readouterr()
    assert len(load(printed.out, tmp_path)) == 6
    assert "6 signals" in printed.err
    tags.write_text("name,address,type\na,10,float32\nb,11,int16\n")
    assert main(["profile", "import", str(tags)]) == 2
    assert "signals.b.address: overlaps a at holding address 11" in capsys.readouterr().err
    assert main(["profile", "import", str(tmp_path / "none.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def expected(case: Path, name: str) -> str:
    return (case / name).read_text(encoding="utf-8") if (case / name).exists() else ""


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_list_becomes_this_profile_with_these_notes(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (given,) = (path for path in case.iterdir() if path.name not in ANSWERS)
    status = main(["profile", "import", str(given), "--title", "Acme 1", *expected(case, "arguments").split()])
    printed = capsys.readouterr()
    if refusal := expected(case, "refusal"):
        assert (status, printed.err, printed.out) == (2, refusal, "")
        return
    assert printed.out == expected(case, "profile.yaml")
    assert "".join(printed.err.splitlines(keepends=True)[:-1]) == expected(case, "notes")
    assert status == 0


def test_with_json_each_note_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "import", "--json", str(CASES / "telegraf-registers" / "telegraf.conf")]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["signals"] == 7
    assert made["notes"][1] == {
        "kind": "left out", "line": 20, "about": "gap", "message": "[14, 16] is no address, nor a row of them"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04rest", "is a spreadsheet or an archive, not a text: save the sheet as CSV"),
        (b"\x00\x01\x02", "is no text"),
        (b"", "is empty"),
        (b'{"master": ', "tags.bin:1: is no valid JSON"),
        (b"[[inputs.modbus]]\nname = $NAME\n", "is Telegraf's configuration, but no valid TOML"),
        (b"modbus:\n  sensors: [\n", "tags.bin:3: is not valid YAML"),
    ],
)
def test_a_wrong_file_is_answered_in_words(raw: bytes, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tags.bin").write_bytes(raw)
    assert main(["profile", "import", str(tmp_path / "tags.bin")]) == 2
    assert words in capsys.readouterr().err


def test_a_list_that_excel_saved_as_unicode_text_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tags.txt").write_bytes("name\taddress\ttype\tunit\r\nOil\t3\tINT\t°C\r\n".encode("utf-16"))
    assert main(["profile", "import", str(tmp_path / "tags.txt")]) == 0
    assert "oil: {table: holding, address: 3, type: int16, unit: Cel}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "unit", "scale"),
    [
        ("0,1V", "V", 0.1), ("V/10", "V", 0.1), ("0.01 kWh", "kW.h", 0.01), ("10^-2 A", "A", 0.01), ("10**3 W", "W", 1000.0),
        ("1/10 Hz", "Hz", 0.1), ("x0.1 bar", "bar", 0.1), ("bar*0.5", "bar", 0.5), ("0.1", "", 0.1), ("1/min", "1/min", 1.0),
        ("1", "1", 1.0), ("m3/h", "m3/h", 1.0), ("[°C]", "Cel", 1.0), ("C", "Cel", 1.0), ("MWh", "MW.h", 1.0), ("mW", "mW", 1.0),
        ("MW", "MW", 1.0), ("[degF]", "[degF]", 1.0), ("{part}", "{part}", 1.0), ("mm/s", "mm/s", 1.0), ("%", "%", 1.0),
        ("-", "", 1.0), ("kVA", "kVA", 1.0), ("Nm", "N.m", 1.0), ("KWH", "kW.h", 1.0), ("boxes a day", "{boxes_a_day}", 1.0),
    ],
)  # fmt: skip
def test_a_unit_is_of_ucum_and_a_number_before_it_is_a_scale(text: str, unit: str, scale: float) -> None:
    found = read_unit(text)
    assert found.text == unit
    assert found.scale == pytest.approx(scale)


@pytest.mark.parametrize("text", ["0-10V", "4..20 mA", "0 to 100 %", "V (in 10ths)", "0 V"])
def test_a_unit_with_a_number_of_unknown_meaning_is_refused(text: str) -> None:
    with pytest.raises(Unclear):
        read_unit(text)


def test_every_unit_of_the_shipped_profiles_is_one_that_an_import_would_leave_as_it_is() -> None:
    profiles, _ = load_profiles(Path(__file__).resolve().parents[2] / "config" / "profiles")
    units = {signal.unit for profile in profiles.values() for signal in profile.register_signals.values()}
    assert {unit for unit in units if not is_ucum(unit) or read_unit(unit).text != unit} == set()


STRANGE = ('"x"', "-1", "[]", "99999999999", "true", "{}", '""', "1e400", "0", "[{}]", "null")


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_a_damaged_list_never_ends_in_a_traceback(case: Path) -> None:
    (given,) = (path for path in case.iterdir() if path.name not in ANSWERS)
    text = given.read_text(encoding="utf-8")
    damage = random.Random(case.name)
    tokens = [match.span() for match in re.finditer(r'"[^"\n]*"|\b\d[\d.]*\b|\[[^\]\n]*\]|\b[a-z_]+\b(?=\s*$)', text, re.MULTILINE)]
    for _ in range(60 if tokens else 0):
        start, end = damage.choice(tokens)
        damaged = text[:start] + damage.choice(STRANGE) + text[end:]
        with contextlib.suppress(ConfigurationProblems):
            import_tags(damaged, given.name, title="X", model_at=100)
