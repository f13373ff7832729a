"""Settings of stages: frozen dataclasses of plain values that refuse a wrong type and a value out of bounds.

Settings are parts of keys, so nothing is converted silently: a text is no number and 2.0 is no whole number. A whole
number is taken where a float is meant, as Python does.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal, TypeVar, dataclass_transform

from annotated_types import Ge, Gt, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

T = TypeVar("T")

Share = Annotated[float, Ge(0), Le(1)]  # of a whole, or a probability
PositiveShare = Annotated[float, Gt(0), Le(1)]
Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass whose fields are checked when it is made, and by `dataclasses.replace`.

    Bounds stand in the fields' types: pydantic's PositiveInt, NonNegativeFloat and others, Share, Literal. Raises
    pydantic's ValidationError, a ValueError, which names the field, the bound and the value.
    """
    return dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid", allow_inf_nan=False))(cls)  # type: ignore[return-value]


@settings
class NoSettings:
    """The config of a stage that has nothing to choose."""
