"""products.yaml: what is made, and how fast each machine can make it. A plant without it has one ideal cycle a machine."""

from __future__ import annotations

from itertools import pairwise
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
    target_cycle_s: float | None = Field(default=None, gt=0, le=86_400)
    parts: int = Field(default=1, ge=1, le=1_000_000)
    parts_per_count: int | None = Field(default=None, ge=1, le=1_000_000)


class ProductCycle(Strict):
    """At best `parts` come from one cycle of `ideal_cycle_s`: a mould with four cavities makes four.

    `target_cycle_s`: how long a cycle may take by the plant's own target; None: the target is the ideal cycle. `parts_per_count`:
    so many parts is a count of the machine's counters while it makes this product, where that differs from what its profile says.
    """

    ideal_cycle_s: float = Field(gt=0, le=86_400)
    target_cycle_s: float | None = Field(default=None, gt=0, le=86_400)
    parts: int = Field(default=1, ge=1, le=1_000_000)
    parts_per_count: int | None = Field(default=None, ge=1, le=1_000_000)
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
    _check_lines(products, plant, document)


def _check_pace(machine: str, cycle: ProductCycle, plant: PlantModel, path: Path_, document: Document) -> None:
    """A machine at its ideal pace must not be too fast for its counters, which take what is faster for a jump; at no time."""
    profile = plant.profile_of(machine)
    if profile.oee is None:
        return
    said = {key: getattr(cycle, key) for key in ("ideal_cycle_s", "target_cycle_s", "parts", "parts_per_count")}
    for place, changed in [(path, {}), *(((*path, "changes", n), each.values) for n, each in enumerate(cycle.changes))]:
        said |= changed
        part_s = said["ideal_cycle_s"] / said["parts"]
        if said["target_cycle_s"] is not None and said["target_cycle_s"] < said["ideal_cycle_s"]:
            document.problem(
                (*place, "target_cycle_s"),
                f"a target of {said['target_cycle_s']:g} s is faster than the ideal cycle, {said['ideal_cycle_s']:g} s",
            )
        for role in ("total", "good"):
            name = getattr(profile.oee, role)
            counter = profile.signals[name].counter if name else None
            count_s = part_s * (said["parts_per_count"] or profile.oee.parts_a_count(role))
            if counter is not None and count_s * counter.max_rate_per_s < 1:
                what = "part" if count_s == part_s else "count"
                document.problem(
                    (*place, "ideal_cycle_s"),
                    f"a {what} every {count_s:g} s is faster than {name} may count in profile {profile.name}, max_rate_per_s "
                    f"{counter.max_rate_per_s:g}; one of the two is wrong",
                )


def _check_lines(products: Products, plant: PlantModel, document: Document) -> None:
    """Machines in a row pass on one part: where each has products of its own, a bottleneck among them means nothing."""
    for line in plant.lines.values():
        if line.oee.method != "constraint":
            continue
        stations = line.oee.stations or tuple((name,) for name in line.devices)
        made = {
            machine: {name for name, product in products.items() if machine in product.machines}
            for station in stations
            for machine in station
        }
        named = [(machine, names) for machine, names in made.items() if names]
        for (one, its), (other, theirs) in pairwise(named):
            if not its & theirs:
                document.problem(
                    ("products", min(theirs), "machines", other),
                    f"line {line.name} is a row by the method constraint, and {one} makes {', '.join(sorted(its))}, {other} "
                    f"{', '.join(sorted(theirs))}: none in common. Give a product both machines, or the line the method sum",
                )
                break
