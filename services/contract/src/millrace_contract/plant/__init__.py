"""The plant model: what a plant writes in its configuration folder, checked as a whole (contracts.md 3)."""

from .alert_rules import AlertRule, load_alert_rules
from .calendar import Break, Calendar, CalendarException, Pattern, Shift, load_calendar
from .conditions import (
    Combination,
    Condition,
    Cusum,
    Deviation,
    DeviceOffline,
    Drift,
    Ewma,
    NoData,
    NotCounting,
    OwnData,
    RateOfChange,
    Ratio,
    RobustZ,
    Siblings,
    State,
    Stuck,
    Threshold,
    TimeToLimit,
    Value,
)
from .gate import Gate
from .holds import hold_ms
from .message_signal import MessageForm, MessageSignal
from .model import Connection, Device, Line, LineOee, PlantModel, load_plant
from .profile import AddressRange, Barrier, DeviceLimits, Group, OeeSignals, Profile
from .reasons import Reason, ReasonPath, Reasons, load_reasons
from .register_signal import RegisterSignal
from .register_types import Addend, SignRegister, Table, ValueType, WordOrder
from .signal import Counter, OnChange, Signal

__all__ = [
    "Addend",
    "AddressRange",
    "AlertRule",
    "Barrier",
    "Break",
    "Calendar",
    "CalendarException",
    "Combination",
    "Condition",
    "Connection",
    "Counter",
    "Cusum",
    "Deviation",
    "Device",
    "DeviceLimits",
    "DeviceOffline",
    "Drift",
    "Ewma",
    "Gate",
    "Group",
    "Line",
    "LineOee",
    "MessageForm",
    "MessageSignal",
    "NoData",
    "NotCounting",
    "OeeSignals",
    "OnChange",
    "OwnData",
    "Pattern",
    "PlantModel",
    "Profile",
    "RateOfChange",
    "Ratio",
    "Reason",
    "ReasonPath",
    "Reasons",
    "RegisterSignal",
    "RobustZ",
    "Shift",
    "Siblings",
    "SignRegister",
    "Signal",
    "State",
    "Stuck",
    "Table",
    "Threshold",
    "TimeToLimit",
    "Value",
    "ValueType",
    "WordOrder",
    "hold_ms",
    "load_alert_rules",
    "load_calendar",
    "load_plant",
    "load_reasons",
]
