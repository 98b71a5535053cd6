"""products.yaml: what is made, and how fast each machine can make it. A plant without it has one ideal cycle a machine."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..errors import ConfigurationProblems
from .document import Document, Path_, Strict, nearest, read_document
from .model import PlantModel
from .valid_from import DatedChange, check_changes

PRODUCTS_FILE = "products.yaml"


class ProductCycleChange(DatedChange):
    """How fast a machine makes a product, from an instant on."""

    ideal_cycle_s: float = Field(default=1.0, gt=0, le=86_400)
    parts: int = Field(default=1, ge=1, le=1_000_000)


class ProductCycle(Strict):
    """At best `parts` come from one cycle of `ideal_cycle_s`: a mould with four cavities makes four."""

    ideal_cycle_s: float = Field(gt=0, le=86_400)
    parts: int = Field(default=1, ge=1, le=1_000_000)
    changes: tuple[ProductCycleChange, ...] = ()


class Product(Strict):
    """One product. A machine that is not in `machines` makes it at the machine's own ideal cycle."""

    title: str = ""
    machines: dict[str, ProductCycle] = {}


class _ProductsFile(Strict):
    products: dict[str, Product] = Field(min_length=1)


Products = dict[str, Product]


def load_products(folder: Path, plant: PlantModel | None) -> Products:
    """By name; empty where there is no such file. Raises ConfigurationProblems with every problem of it."""
    if not (folder / PRODUCTS_FILE).exists():
        return {}
    document = read_document(folder / PRODUCTS_FILE, PRODUCTS_FILE)
    found = document.validate(_ProductsFile) if document.data else None
    if found is not None and plant is not None:
        _check(found.products, plant, document)
    if document.problems or found is None:
        raise ConfigurationProblems(document.problems)
    return found.products


def _check(products: Products, plant: PlantModel, document: Document) -> None:
    for name, product in products.items():
        for machine, cycle in product.machines.items():
            path: Path_ = ("products", name, "machines", machine)
            check_changes(document, (*path, "changes"), cycle.changes)
            if machine not in plant.devices:
                document.problem(path, f"no device {machine!r}{nearest(machine, plant.devices)} in plant.yaml")
            elif plant.profile_of(machine).oee is None:
                document.problem(path, f"profile {plant.devices[machine].profile} has no oee: {machine} counts no parts")
            else:
                _check_pace(machine, cycle, plant, path, document)


def _check_pace(machine: str, cycle: ProductCycle, plant: PlantModel, path: Path_, document: Document) -> None:
    """A machine at its ideal pace must not be too fast for its counters, which take what is faster for a jump."""
    profile = plant.profile_of(machine)
    if profile.oee is None:
        return
    for name in filter(None, (profile.oee.total, profile.oee.good)):
        counter = profile.signals[name].counter
        part_s = cycle.ideal_cycle_s / cycle.parts
        if counter is not None and part_s * counter.max_rate_per_s < 1:
            document.problem(
                (*path, "ideal_cycle_s"),
                f"a part every {part_s:g} s is faster than {name} may count in profile {profile.name}, max_rate_per_s "
                f"{counter.max_rate_per_s:g}; one of the two is wrong",
            )
