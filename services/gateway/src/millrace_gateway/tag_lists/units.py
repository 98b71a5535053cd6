"""Units as profiles write them (UCUM), from units as people write them; and the scale that stands in front of many."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .numbers import read_number
from .tags import Unclear

SPELLINGS: Final[dict[str, str]] = {
    "°c": "Cel", "c": "Cel", "degc": "Cel", "deg c": "Cel", "deg. c": "Cel", "celsius": "Cel", "℃": "Cel", "°f": "[degF]",
    "degf": "[degF]", "deg f": "[degF]", "fahrenheit": "[degF]", "℉": "[degF]", "kelvin": "K", "°": "deg", "degrees": "deg",
    "volt": "V", "volts": "V", "v ac": "V", "v dc": "V", "vac": "V", "vdc": "V", "amp": "A", "amps": "A", "ampere": "A",
    "amperes": "A", "watt": "W", "watts": "W", "kilowatt": "kW", "hertz": "Hz", "ohm": "Ohm", "ω": "Ohm", "kω": "kOhm",
    "wh": "W.h", "kwh": "kW.h", "gwh": "GW.h", "vah": "VA.h", "kvah": "kVA.h", "varh": "var.h", "kvarh": "kvar.h", "ah": "A.h",
    "kvar": "kvar", "var": "var", "ppm": "[ppm]",
    "ppb": "[ppb]", "kva": "kVA", "kw": "kW", "hz": "Hz", "khz": "kHz", "kv": "kV", "pa": "Pa", "kpa": "kPa", "hpa": "hPa",
    "nm": "N.m",
    "rpm": "1/min", "r/min": "1/min", "u/min": "1/min", "1/min": "1/min", "min-1": "1/min", "min^-1": "1/min", "1/h": "1/h",
    "1/s": "1/s", "pcs": "{part}", "parts": "{part}", "pieces": "{part}", "stk": "{part}", "litre": "L", "liter": "L",
    "lpm": "L/min", "m³": "m3", "m^3": "m3", "m³/h": "m3/h", "m^3/h": "m3/h",
    "nm³/h": "m3/h{norm}", "nm3/h": "m3/h{norm}", "m²": "m2", "m^2": "m2", "w/m²": "W/m2", "m/s²": "m/s2", "µm": "um", "μm": "um",
    "µs": "us", "μs": "us", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "min", "minute": "min",
    "minutes": "min", "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "percent": "%", "pct": "%",
    "% rh": "%", "%rh": "%", "psi": "[psi]", "bar": "bar", "mbar": "mbar", "mps": "m/s",
    "kmh": "km/h", "degree": "deg", "bara": "bar", "barg": "bar", "bar g": "bar", "bar(g)": "bar",
    "gal": "[gal_us]", "gpm": "[gal_us]/min",
    "inch": "[in_i]", "in": "[in_i]", "ft": "[ft_i]", "lb": "[lb_av]", "lbs": "[lb_av]", "tmsec": "ms", "secs.": "s",
    "kg/hr": "kg/h", "cosφ": "1", "cos phi": "1", "pf": "1", "-": "", "--": "", "n/a": "", "none": "", "unitless": "", "bool": "",
}  # fmt: skip
EXACT: Final[dict[str, str]] = {
    "MWh": "MW.h", "mWh": "mW.h", "MVAh": "MVA.h", "Mvarh": "Mvar.h", "mAh": "mA.h", "Nm": "N.m", "C": "Cel",
    "F": "[degF]", "l": "L", "l/min": "L/min", "l/h": "L/h", "l/s": "L/s", "ft": "[ft_i]", "PF": "1", "pH": "[pH]",
}  # fmt: skip
"""Spellings in which capital letters mean something, or that UCUM reads as what no machine means: C is the coulomb there."""

_PREFIX: Final = r"(?:da|[yzafpnumcdhkMGTPEZY])?"
_METRIC: Final = "Hz|Pa|Ohm|Cel|bar|lm|lx|mol|rad|cd|eV|Wb|var|VA|By|bit|Bd|B|m|g|s|A|K|N|J|W|C|V|F|S|T|H|L|l|t"
_OTHER: Final = r"1(?![\d+-])|%|min|h|d|wk|mo|a|deg|atm|ha|st|\[[A-Za-z_0-9]+\]"
_COMPONENT: Final = rf"(?:(?:{_OTHER}|{_PREFIX}(?:{_METRIC}))(?:[+-]?\d)?(?:\{{[!-z|~]*\}})?|\{{[!-z|~]*\}})"
_UCUM: Final = re.compile(rf"/?{_COMPONENT}(?:[./]{_COMPONENT})*")

RANGE: Final = re.compile(r"\d\s*(?:-|\.\.+|to|\u2013)\s*[-+]?\d")
"""0-10V, 4..20mA: what the signal is, not what its number is multiplied by."""
_NUMBER: Final = r"[-+]?\d+(?:[.,]\d+)?(?:[eE][-+]?\d+)?"
_POWER: Final = re.compile(r"10\s*(?:\^|\*\*)\s*\(?([-+\u2212]?\d+)\)?\s*[*x\u00d7\u00b7]?\s*(.*)")
_PARTS: Final = re.compile(rf"({_NUMBER})\s*/\s*({_NUMBER})\s*(.*)")
_BEFORE: Final = re.compile(rf"[*x\u00d7]?\s*({_NUMBER})\s*[*x\u00d7\u00b7]?\s*(.*)")
_AFTER: Final = re.compile(rf"(.*?\S)?\s*([/\u00f7*x\u00d7])\s*({_NUMBER})")


class Unit(NamedTuple):
    """A unit of UCUM, and what the register's number is multiplied by to be in it. `is_known`: UCUM has it."""

    text: str
    scale: float
    is_known: bool


def read_unit(text: str) -> Unit:
    """`kWh` is kW.h; `0,1V`, `V/10` and `10^-1 V` are V with a scale of 0.1. What nobody knows becomes an annotation: {boxes}.

    Raises Unclear for a unit that holds a number of which nobody can say what it does to the value.
    """
    words = text.strip() if is_ucum(text.strip()) else " ".join(text.split()).strip("[]() ")
    if RANGE.search(words):
        raise _holds_a_number(text)
    scale, words = _scale(words, text)
    if not words and scale != 1 and scale == int(scale):
        message = f"{text!r} alone may be a unit id or a factor: call the column slave, or scale"
        raise Unclear("unit", message)
    if not words:
        return Unit("", scale, is_known=True)
    unit = EXACT.get(words) or _known(words)
    if unit is not None:
        return Unit(unit, scale, is_known=True)
    if re.search(r"\d", words):
        raise _holds_a_number(text)
    return Unit("{" + re.sub(r"[\s{}]+", "_", words).strip("_") + "}", scale, is_known=False)


def _holds_a_number(text: str) -> Unclear:
    return Unclear("unit", f"{text!r} holds a number: if it is a factor, write it as scale, and only the unit here")


def is_ucum(unit: str) -> bool:
    """Is this a unit as UCUM spells it, of the parts that machines use? Nothing begins with a digit but 1 and 1/..."""
    return unit == "" or (_UCUM.fullmatch(unit) is not None and re.match(r"\d(?<!1)|1[^/]", unit) is None)


def _known(words: str) -> str | None:
    if is_ucum(words):
        return words
    found = SPELLINGS.get(words.lower())
    if found is not None and not (len(words) > 1 and words[0] == "m" and found[0] == "M"):
        return found
    return None


def _scale(words: str, text: str) -> tuple[float, str]:
    """The factor that the unit begins or ends with, and the rest."""
    if words == "1" or re.match(r"1\s*/\s*[A-Za-z]", words):
        return 1.0, words.replace(" ", "")
    if match := _POWER.fullmatch(words):
        return 10.0 ** int(match[1].replace("\u2212", "-")), match[2].strip()
    if (match := _PARTS.fullmatch(words)) and read_number("unit", match[2]):
        return read_number("unit", match[1]) / read_number("unit", match[2]), match[3].strip()
    if match := _BEFORE.fullmatch(words):
        return _factor(match[1], text), match[2].strip()
    if (match := _AFTER.fullmatch(words)) and not is_ucum(words):
        factor = _factor(match[3], text)
        return (1 / factor if match[2] in "/\u00f7" else factor), (match[1] or "").strip()
    return 1.0, words


def _factor(number: str, text: str) -> float:
    factor = read_number("unit", number)
    if factor == 0:
        raise Unclear("unit", f"{text!r} would make every value 0")
    return factor
