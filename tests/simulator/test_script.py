"""Scripts of faults: every mistake named at once, every fault at its time."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace_contract.errors import ConfigurationProblems
from millrace_simulator.faults import Fault, FaultBoard, FaultKind
from millrace_simulator.script import load_script

DEVICES = {"CNC-01", "PRESS-01"}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    return path


def test_faults_come_at_their_time_and_again_in_each_round(tmp_path: Path) -> None:
    script = load_script(
        write(
            tmp_path,
            "repeat_s: 100\nfaults:\n"
            "  - {at_s: 60, device: PRESS-01, kind: exception, code: 2, seconds: 20}\n"
            "  - {at_s: 10, device: CNC-01, kind: silent}\n",
        ),
        DEVICES,
    )
    times = [0.0, 9.9, 10.0, 59.0, 61.0, 99.0, 110.0, 159.9, 160.0]
    found = [[(fault.device, fault.kind.value) for fault in script.due(elapsed_s)] for elapsed_s in times]
    silent, refused = ("CNC-01", "silent"), ("PRESS-01", "exception")
    assert found == [[], [], [silent], [], [refused], [], [silent], [], [refused]]


def test_a_round_that_ends_brings_what_is_still_due(tmp_path: Path) -> None:
    script = load_script(write(tmp_path, "repeat_s: 10\nfaults: [{at_s: 9, device: CNC-01, kind: jam}]"), DEVICES)
    assert script.due(8.0) == []
    assert [fault.kind for fault in script.due(10.5)] == [FaultKind.JAM]
    assert script.due(11.0) == []


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    text = """
repeat_s: 100
faults:
  - {at_s: 1, device: CNC-01, kind: melted}
  - {at_s: 1, device: CNC-09, kind: silent}
  - {at_s: 1, device: CNC-01, kind: slow, seconds: -1}
  - {at_s: 100, device: CNC-01, kind: silent}
  - {at_s: 1, device: CNC-01, kind: silent, second: 3}
"""
    with pytest.raises(ConfigurationProblems) as found:
        load_script(write(tmp_path, text), DEVICES)
    told = [str(problem) for problem in found.value.problems]
    assert len(told) == 5
    assert told[0].startswith("faults.yaml: faults[0]: Invalid enum value 'melted'")
    assert told[1] == "faults.yaml: faults[1]: no device 'CNC-09' is simulated; there are: CNC-01, PRESS-01"
    assert told[2] == "faults.yaml: faults[2]: seconds is -1.0; allowed: above 0, at most 604800 (a week)"
    assert told[3] == "faults.yaml: faults[3]: at_s is 100.0; allowed: 0 up to repeat_s"
    assert "unknown field `second`" in told[4]


def test_a_file_that_is_not_there_or_no_yaml_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", write(tmp_path, "faults: [")):
        with pytest.raises(ConfigurationProblems) as found:
            load_script(path, DEVICES)
        assert found.value.problems[0].file == path.name


def test_a_share_of_requests_is_hit_and_the_fault_ends_by_itself() -> None:
    board = FaultBoard(seed=1)
    board.begin(Fault(device="CNC-01", kind=FaultKind.SILENT, seconds=10, share=0.3), 1_000)
    hits = sum(board.hit("CNC-01", 2_000) is not None for _ in range(1_000))
    assert 250 < hits < 350
    assert board.hit("PRESS-01", 2_000) is None
    assert board.on("CNC-01", 10_999) is not None
    assert board.on("CNC-01", 11_000) is None
    assert board.active(11_000) == []
