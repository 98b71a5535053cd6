"""A kind of condition is two modules of one name: what a rule may say in the contract, how it is evaluated here."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import get_args

import pytest

import millrace_alerts.conditions
import millrace_contract.plant.conditions
from millrace_alerts.conditions import Condition, condition_of
from millrace_contract.plant.conditions import Condition as Model

SHARED = {"listening", "of_baseline", "of_figures", "of_number", "of_parts", "site", "trends"}
"""What several kinds have in common."""
MODELS, UNION = get_args(Model)[0], get_args(Condition)
KINDS = sorted(get_args(model.model_fields["kind"].annotation)[0] for model in get_args(MODELS))


def modules_of(package: object) -> set[str]:
    folder = Path(str(getattr(package, "__file__", ""))).parent
    return {path.stem for path in folder.glob("*.py")} - {"__init__", *SHARED}


def test_every_kind_is_a_pair_of_modules_of_its_name() -> None:
    assert modules_of(millrace_contract.plant.conditions) == set(KINDS)
    assert modules_of(millrace_alerts.conditions) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_both_modules_of_a_kind_belong_together(kind: str) -> None:
    model = next(each for each in get_args(MODELS) if get_args(each.model_fields["kind"].annotation)[0] == kind)
    assert model.__module__ == f"millrace_contract.plant.conditions.{kind}"
    module = importlib.import_module(f"millrace_alerts.conditions.{kind}")
    evaluated = [each for each in UNION if each.__module__ == module.__name__]
    assert len(evaluated) == 1
    assert evaluated[0].of.__annotations__["return"] == evaluated[0].__name__


def test_all_kinds_are_dispatched() -> None:
    assert len(UNION) == len(KINDS)
    assert condition_of.__annotations__["return"] == "Condition"
