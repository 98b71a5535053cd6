from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_contract.plant.profile_files import load_profiles
from millrace_gateway.__main__ import main
from millrace_gateway.tag_list import profile_from_tags

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
        for name, s in profiles["acme-x"].signals.items()
    }


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigurationProblems) as refused:
        profile_from_tags(text, "tags.csv", title="X")
    return [str(problem) for problem in refused.value.problems]


def test_a_list_as_engineers_write_it_becomes_a_profile(tmp_path: Path) -> None:
    text, count = profile_from_tags(TAGS, "tags.csv", title="Acme: X")
    assert count == 6
    assert load(text, tmp_path) == {
        "spindle_temperature": ("holding", 100, "float32", 2, "CDAB", 1.0, "Cel", None),
        "motor_speed": ("holding", 110, "uint16", 1, "ABCD", 0.1, "1/min", None),
        "overload": ("holding", 20, "uint16", 1, "ABCD", 1.0, "", 3),
        "door": ("discrete", 0, "bit", 1, "ABCD", 1.0, "", None),
        "energy": ("holding", 199, "uint32", 2, "ABCD", 0.01, "kW.h", None),
        "program": ("input", 40, "string", 8, "ABCD", 1.0, "", None),
    }


def test_addresses_from_zero_and_from_one(tmp_path: Path) -> None:
    text, _ = profile_from_tags("name,address,type,fc\na,0x10,int16,4\nb,17,U16,3\n", "tags.csv", title="X")
    places = load(text, tmp_path)
    assert [place[:3] for place in places.values() if isinstance(place, tuple)] == [
        ("input", 16, "int16"),
        ("holding", 17, "uint16"),
    ]
    text, _ = profile_from_tags("name,address,type\na,5,string_high(7)\n", "tags.csv", title="X")
    assert "type: string_high, registers: 7" in text
    text, _ = profile_from_tags("name,register number,type\na,17,INT\n", "tags.csv", title="X")
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
