"""Several conditions at once: all of them, any of them, not this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ..document import Strict, tag_of
from ..model import PlantModel
from ..profile import Profile
from .of_number import Keys, keys_of
from .rate_of_change import RateOfChange
from .state import State
from .stuck import Stuck
from .threshold import Threshold
from .value import Value

MAX_DEPTH = 4
MAX_PARTS = 20


class _OfDevice(Strict):
    """A part is about the rule's device, or about another one of its line."""

    device: str | None = None


class ThresholdPart(_OfDevice, Threshold):
    """As the kind of this name."""


class RateOfChangePart(_OfDevice, RateOfChange):
    """As the kind of this name."""


class StuckPart(_OfDevice, Stuck):
    """As the kind of this name."""


class ValuePart(_OfDevice, Value):
    """As the kind of this name."""


class StatePart(_OfDevice, State):
    """As the kind of this name."""


Single = ThresholdPart | RateOfChangePart | StuckPart | ValuePart | StatePart
_TAGS = {"threshold": ThresholdPart, "rate_of_change": RateOfChangePart, "stuck": StuckPart, "value": ValuePart, "state": StatePart}


class Several(Strict):
    """One of: all of these hold, any of them does, this one does not. What is not known is neither (alerts.md B3)."""

    all_of: tuple[Part, ...] = Field(default=(), alias="all")
    any_of: tuple[Part, ...] = Field(default=(), alias="any")
    none_of: Part | None = Field(default=None, alias="not")

    @model_validator(mode="after")
    def _one_key(self) -> Several:
        if sum((bool(self.all_of), bool(self.any_of), self.none_of is not None)) != 1:
            raise ValueError("needs one of the keys all, any (lists with something in them) and not")
        return self

    @property
    def parts(self) -> tuple[tuple[Keys, Part], ...]:
        """Those of the one key that is there, each with the keys that lead to it."""
        if self.none_of is not None:
            return ((("not",), self.none_of),)
        key, parts = ("all", self.all_of) if self.all_of else ("any", self.any_of)
        return tuple(((key, index), part) for index, part in enumerate(parts))

    @property
    def depth(self) -> int:
        """1 for a group of single conditions."""
        return 1 + max(part.depth if isinstance(part, Several) else 0 for _, part in self.parts)

    def singles(self, path: Keys = ()) -> Iterator[tuple[Keys, Single]]:
        """Every single condition, with the keys that lead to it."""
        for key, part in self.parts:
            if isinstance(part, Several):
                yield from part.singles((*path, *key))
            else:
                yield (*path, *key), part


def _which(data: Any) -> str:
    kind = data.get("kind") if isinstance(data, dict) else getattr(data, "kind", None)
    if kind is None:
        return tag_of("Several")
    return tag_of(_TAGS[kind].__name__) if kind in _TAGS else str(kind)[:60]


Part = Annotated[
    Annotated[Several, Tag(tag_of("Several"))]
    | Annotated[ThresholdPart, Tag(tag_of("ThresholdPart"))]
    | Annotated[RateOfChangePart, Tag(tag_of("RateOfChangePart"))]
    | Annotated[StuckPart, Tag(tag_of("StuckPart"))]
    | Annotated[ValuePart, Tag(tag_of("ValuePart"))]
    | Annotated[StatePart, Tag(tag_of("StatePart"))],
    Discriminator(
        _which,
        custom_error_type="combination_part",
        custom_error_message=f"a combination is made of {', '.join(_TAGS)}, and of all, any and not",
    ),
]
Several.model_rebuild()


class Combination(Several):
    """Sets while the whole is true, clears while it is false; while that cannot be known, the alert stays as it is."""

    kind: Literal["combination"]

    @model_validator(mode="after")
    def _bounded(self) -> Combination:
        if self.depth > MAX_DEPTH:
            raise ValueError(f"is {self.depth} levels deep; at most {MAX_DEPTH} are allowed")
        if (count := len(list(self.singles()))) > MAX_PARTS:
            raise ValueError(f"has {count} conditions; at most {MAX_PARTS} are allowed")
        return self

    def problems(self, profile: Profile) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) for the devices of this profile: of the parts that are about the rule's own device."""
        for path, part in self.singles():
            if part.device is None:
                yield from ((path + keys_of(said), problem) for said, problem in part.problems(profile))

    def problems_of_others(self, plant: PlantModel, line: str) -> Iterator[tuple[Keys, str]]:
        """(keys, what is wrong with it) of the parts about another device, for a rule that watches a device of this line."""
        for path, part in self.singles():
            if part.device is None:
                continue
            if not plant.has_asset(line, part.device):
                of_line = ", ".join(each.id for each in plant.devices.values() if each.line == line)
                yield (*path, "device"), f"{part.device!r} is no device of line {line}, which has {of_line}"
                continue
            profile = plant.profile_of(part.device)
            yield from ((path + keys_of(said), problem) for said, problem in part.problems(profile))
