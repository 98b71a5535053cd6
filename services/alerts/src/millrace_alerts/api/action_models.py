"""What the API takes of who acts on an alert or a rule, and text that people write."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema, model_validator

from .examples import NOW
from .paging import TIME
from .written_text import LINES, ONE_LINE, lines_as_written, shown_as_written

LONGEST_SHELF_S = 7 * 86_400
"""Whatever the setting says."""

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(shown_as_written),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100, "pattern": ONE_LINE}),
]
Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000),
    AfterValidator(lines_as_written),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 1000, "pattern": LINES}),
]


class ActionBody(BaseModel):
    """Who acts, and what they have to say."""

    model_config = ConfigDict(extra="forbid")

    actor: Name = Field(description="the person, or the system that acts", examples=["anna"])
    comment: Text | None = Field(default=None, examples=["coolant pump restarted"])


class CommentBody(ActionBody):
    comment: Text = Field(examples=["coolant pump restarted"])


class ShelveBody(ActionBody):
    """Hide an alert for a while; evaluation and recording go on."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["until"], "properties": {"until": {"type": "string"}, "for_s": {"type": "null"}}},
                {"required": ["for_s"], "properties": {"for_s": {"type": "number"}, "until": {"type": "null"}}},
            ]
        }
    )

    reason: Text = Field(description="why; shown with the shelved alert", examples=["sensor is being replaced"])
    until: str | None = Field(default=None, description="when the shelf ends", examples=[NOW], json_schema_extra=TIME)
    for_s: float | None = Field(
        default=None, gt=0, le=LONGEST_SHELF_S, description="or: how long from now, seconds", examples=[3600]
    )
    one_shot: bool = Field(default=False, description="the shelf ends with the next return to normal too")

    @model_validator(mode="after")
    def _one_end(self) -> "ShelveBody":
        if (self.until is None) == (self.for_s is None):
            raise ValueError("give one of until and for_s")
        return self


class OutOfServiceBody(ActionBody):
    """Hide an alert while its device is worked on; it comes back by `return-to-service` alone."""

    work_order: Name = Field(description="under which the work is done; shown with the alert", examples=["WO-4711"])
