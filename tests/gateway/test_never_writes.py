"""The gateway holds no way to write to a machine: no write function of the library, no function code that writes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import millrace_gateway
from millrace_gateway import blocks, frames

PACKAGE = Path(millrace_gateway.__file__).parent
WRITING_CODES = {5, 6, 15, 16, 21, 22, 23}
# What a file or a stream is written with is not Modbus.
ALLOWED = {"write_text"}


def names(tree: ast.AST) -> set[str]:
    """Every name that the code calls, imports or reaches into."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found.update(alias.name for alias in node.names)
    return found


def writes(source: str) -> set[str]:
    return {
        name
        for name in names(ast.parse(source))
        if name.lower().startswith(("write_", "maskwrite", "readwrite", "writes", "writem"))
    }


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_no_module_names_a_write(path: Path) -> None:
    assert writes(path.read_text()) - ALLOWED == set()


def test_the_search_finds_a_write() -> None:
    assert writes("client.write_register(1, 2)") == {"write_register"}
    assert writes("from pymodbus.pdu.register_message import WriteSingleRegisterRequest") == {"WriteSingleRegisterRequest"}


def test_every_function_that_is_sent_is_a_read() -> None:
    assert set(blocks.FUNCTION_CODES.values()) == set(frames._REQUESTS) == {1, 2, 3, 4}
    assert not set(frames._REQUESTS) & WRITING_CODES
    assert all(cls.__name__.startswith("Read") and cls.function_code == code for code, cls in frames._REQUESTS.items())


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.name)
def test_only_one_module_knows_pymodbus(path: Path) -> None:
    imported = {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    }
    uses_it = any(name.split(".")[0] == "pymodbus" for name in imported)
    assert uses_it is (path.name == "frames.py")
