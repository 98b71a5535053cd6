"""Values that stand as examples in the description of the API."""

CURSOR = "5f3a9c21-4711"
OCCURRENCE = "spindle-hot.CNC-01.1760535902123"
NOW = "2025-10-15T13:45:02.123Z"
LATER = "2025-10-15T13:45:07.123Z"
