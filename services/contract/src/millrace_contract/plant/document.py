"""YAML with line numbers, and pydantic's findings turned into problems a person can act on. The only place that reads YAML."""

from __future__ import annotations

import difflib
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import Problem

Path_ = tuple[str | int, ...]
MAX_DIGITS = 30
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Far beyond any plant; aliases within aliases reach it in a few lines."""


class Strict(BaseModel):
    """Base of everything that a plant writes: unknown keys are mistakes, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


M = TypeVar("M", bound=Strict)


class _Loader(yaml.CSafeLoader):
    """YAML whose plain scalars mean what they look like: `06:00` is a time and `no` a word, not 360 and false."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|false", "tf"),
    ("tag:yaml.org,2002:int", r"[-+]?(0x[0-9a-fA-F]+|[0-9]+)", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("tag:yaml.org,2002:null", r"~|null|", "~n\0"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first) if _first != "~n\0" else ["~", "n", ""])


@dataclass
class Document:
    """One file: its data, the line of each key, and the problems found so far."""

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    root: Any = None
    """What the file holds, where it is no mapping too."""
    problems: list[Problem] = field(default_factory=list)
    values: int = 0
    _lines: dict[Path_, int] = field(default_factory=dict)

    def line_of(self, path: Path_) -> int:
        """The line of this key, or of the nearest one around it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 0)

    def problem(self, path: Path_, message: str) -> None:
        self.problems.append(Problem(self.file, self.line_of(path), _dotted(path), message))

    def validate(self, model: type[M], context: Mapping[str, Any] | None = None) -> M | None:
        """The model, or None with the findings added to `problems`."""
        try:
            return model.model_validate(self.data, context=dict(context or {}))
        except ValidationError as error:
            findings = error.errors(include_url=False)
            places = [finding["loc"] for finding in findings]
            for finding in findings:
                if finding["type"] == "too_short" and any(_is_within(place, finding["loc"]) for place in places):
                    continue  # there are entries, and what is wrong with each is said
                is_of_a_key = finding["type"] in {"missing", "extra_forbidden"}
                self.problem(self._path(finding["loc"], is_of_a_key=is_of_a_key), _in_words(finding, model))
            return None

    def _path(self, loc: Iterable[str | int], *, is_of_a_key: bool) -> Path_:
        """pydantic's location without the union tags that are no keys of the file, and without its mark of a key that is wrong.

        is_of_a_key: the last part is a key, though the file may not have it.
        """
        path: Path_ = ()
        loc = tuple(part for part in loc if part != "[key]" and not str(part).startswith("<"))
        for index, part in enumerate(loc):
            if (*path, part) in self._lines or (is_of_a_key and index == len(loc) - 1):
                path = (*path, part)
        return path


def read_document(path: Path, name: str) -> Document:
    """The file with the problems that YAML itself has; `name` is how the file is called in messages."""
    document = Document(name)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would wait for a writer, a device never end
            document.problems.append(Problem(name, 0, "", "is not a file"))
            return document
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        document.problems.append(Problem(name, 0, "", f"is missing; expected in {path.parent}"))
        return document
    except (OSError, UnicodeDecodeError) as error:
        document.problems.append(Problem(name, 0, "", f"cannot be read: {error}"))
        return document
    return parse_document(text, name)


def document_of(data: Mapping[str, Any], name: str) -> Document:
    """What did not come from a file, with the problems that a file of the same content would have, but for their lines."""
    document = Document(name, data=dict(data))
    if not _note_paths(document.data, (), document):
        document.problems.append(Problem(name, 0, "", "is not usable: its lists and mappings are nested too deeply"))
    return document


def _note_paths(value: Any, path: Path_, document: Document) -> bool:
    """Whether it is no deeper than a file may be; each key is known then, of line 0."""
    document._lines[path] = 0
    if len(path) > MAX_DEPTH:
        return False
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return all(_note_paths(child, (*path, key), document) for key, child in children)


class _TooDeep(Exception):
    """More lists and mappings within each other than MAX_DEPTH."""


def composed(text: str) -> yaml.Node | None:
    """The nodes of a YAML text, which nobody changes; None where it is empty. Raises _TooDeep and yaml.YAMLError."""
    if _is_too_deep(text):
        raise _TooDeep
    return yaml.compose(text, Loader=_Loader)


def _is_too_deep(text: str) -> bool:
    """Looked at first, because libyaml's composer ends the process when it runs out of stack. Raises yaml.YAMLError."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return False


def parse_document(text: str, name: str, *, is_mapping: bool = True) -> Document:
    """The text with the problems that YAML itself has, and with one for what is no mapping where one must be."""
    document = Document(name)
    try:
        node = composed(text)
    except _TooDeep:
        document.problems.append(Problem(name, 0, "", "is not usable: its lists and mappings are nested too deeply"))
        return document
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or str(error)
        document.problems.append(Problem(name, mark.line + 1 if mark else 0, "", f"is not valid YAML: {reason}"))
        return document
    try:
        data = _plain(node, (), document) if node is not None else {}
    except (_TooMuch, RecursionError):
        message = f"is not usable: with its aliases (*name) it has more than {MAX_VALUES} values, or one that contains itself"
        document.problems.append(Problem(name, 0, "", message))
        return document
    document.root = data
    if isinstance(data, dict):
        document.data = data
    elif is_mapping:
        document.problems.append(Problem(name, 1, "", "must be a mapping of keys and values"))
    return document


def tag_of(class_name: str) -> str:
    """The tag of a class in a union that is chosen by what stands in the file; it looks like no key."""
    return f"<{class_name}>"


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean x?)`, or nothing; for messages about unknown names."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.7)
    return f" (did you mean {close[0]}?)" if close else ""


class _TooMuch(Exception):
    """More values than MAX_VALUES."""


def _plain(node: yaml.Node, path: Path_, document: Document) -> Any:
    document.values += 1
    if document.values > MAX_VALUES:
        raise _TooMuch
    document._lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node)
            key_path = (*path, key)
            line = key_node.start_mark.line + 1
            if key in result:
                first = document.line_of(key_path)
                document.problems.append(
                    Problem(document.file, line, _dotted(key_path), f"stands twice, first in line {first}; give one another name")
                )
                continue
            document._lines[key_path] = line
            result[key] = _plain(value_node, key_path, document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, index), document) for index, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    if not isinstance(node, yaml.ScalarNode):
        return str(node.value)
    value = node.value
    if node.tag == "tag:yaml.org,2002:int":
        if len(value) > MAX_DIGITS:
            return value  # a text, which no key for a number accepts
        return int(value, 16) if "x" in value.lower() else int(value)
    if node.tag == "tag:yaml.org,2002:float":
        return float(value)
    if node.tag == "tag:yaml.org,2002:bool":
        return value == "true"
    return None if node.tag == "tag:yaml.org,2002:null" else value


def _dotted(path: Path_) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) and text else f"{'.' if text else ''}{part}"
    return text


def _is_within(place: tuple[int | str, ...], around: tuple[int | str, ...]) -> bool:
    return len(place) > len(around) and place[: len(around)] == around


_PLAINLY = {
    "dict_type": "it must be keys with values",
    "model_type": "it must be keys with values",
    "model_attributes_type": "it must be keys with values",
    "tuple_type": "it must be a list, in square brackets",
    "list_type": "it must be a list, in square brackets",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "bool_parsing": "it must be true or false",
    "bool_type": "it must be true or false",
    "string_type": "it must be a text; write it in quotes",
    "string_too_short": "it must have a character at least",
    "string_too_long": "it must have {max_length} characters at most",
    "too_short": "it must have {min_length} entries at least",
    "too_long": "it must have {max_length} entries at most",
    "greater_than": "it must be more than {gt}",
    "greater_than_equal": "it must be {ge} or more",
    "less_than": "it must be less than {lt}",
    "less_than_equal": "it must be {le} or less",
}
"""pydantic's kinds of findings, for who has never heard of it."""


def _in_words(finding: Any, model: type[BaseModel]) -> str:
    value = finding["input"]
    shown = f"{value!r}"[:60] if not isinstance(value, dict | list) else "this"
    match finding["type"]:
        case "extra_forbidden":
            known = _keys_at(model, finding["loc"][:-1])
            key = str(finding["loc"][-1])
            return f"is not a key here{nearest(key, known)}; allowed: {', '.join(known)}" if known else "is not a key here"
        case "missing":
            return "is missing"
        case "value_error" | "assertion_error":
            return str(finding["ctx"]["error"])
        case "literal_error" | "enum":
            expected = re.sub(r"<\w+\.\w+: ('[^']+')>", r"\1", finding["ctx"]["expected"])  # members of an enum as they are written
            known = re.findall(r"'([^']+)'", expected)
            return f"{shown} is not one of {expected}{nearest(str(value), known)}"
        case "union_tag_invalid":
            return f"{finding['ctx']['tag']!r} is not one of {finding['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"needs the key {finding['ctx']['discriminator']}"
        case kind if kind in _PLAINLY:
            return f"{shown} is not allowed: {_PLAINLY[kind].format(**finding.get('ctx', {}))}"
        case _:
            return f"{shown} is not allowed: {finding['msg'][0].lower()}{finding['msg'][1:]}"


def _keys_at(model: type[BaseModel], loc: Iterable[str | int]) -> list[str]:
    """The keys that a model allows at a place, following fields, dicts, lists and tagged unions by name."""
    current: list[Any] = [model]
    for part in loc:
        chosen = [each for each in current if part in {tag_of(getattr(each, "__name__", "")), _kind_of(each)}]
        step: list[Any] = []
        for candidate in chosen or current:
            fields = getattr(candidate, "model_fields", None)
            named = {each.alias or name: each for name, each in (fields or {}).items()}
            if part in named:
                step += _models_in(named[part].annotation)
            else:  # an index, a key of a dict, or a union's tag: the model stays the same
                step.append(candidate)
        current = step
    fields = [item for candidate in current for item in getattr(candidate, "model_fields", {}).items()]
    return list(dict.fromkeys(each.alias or name for name, each in fields if name not in ("name", "id")))


def _kind_of(model: Any) -> str | None:
    """The word by which a model of a union is chosen, where its key `kind` has one."""
    kind = getattr(model, "model_fields", {}).get("kind")
    words: tuple[str, ...] = getattr(kind.annotation, "__args__", ()) if kind is not None else ()
    return words[0] if len(words) == 1 else None


def _models_in(annotation: Any) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models_in(argument)]
