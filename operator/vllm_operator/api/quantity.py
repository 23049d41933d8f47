"""Kubernetes quantities, written as the API server writes them.

The API server stores a quantity in a canonical form (`2048Mi` comes back as `2Gi`, `1.5` as `1500m`).
Whatever we send must already have that form, or every comparison with what is stored would differ.
The rules are those of k8s.io/apimachinery v0.36.3, pkg/api/resource/quantity.go.
"""

import re
from fractions import Fraction
from math import ceil
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

PATTERN = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?$"
MAX_LENGTH = 32

_PARTS = re.compile(r"([0-9]*\.?[0-9]*)([a-zA-Z]?.*)")
_BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
_DECIMAL = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"]
_MILLIS = 10**3
_MOST = 2**60
_TOO_LARGE = "must be at most 1Ei"


def canonical(text: str) -> str:
    """Write a quantity that matches `PATTERN` in the API server's form."""
    # Fractions below a thousandth are rounded up, as the API server does in every resource list
    # (k8s.io/kubernetes v1.36.3, pkg/apis/core/v1/conversion.go): who asks for something gets something.
    millis = ceil(exact(text) * _MILLIS)
    if text.endswith("i") and millis % _MILLIS == 0 and millis >= 1024 * _MILLIS:
        return _shortest(millis // _MILLIS, 1024, _BINARY)
    return _shortest(millis, 1000, _DECIMAL[2:]) if millis else "0"


def exact(text: str) -> Fraction:
    """The value of a quantity that matches `PATTERN`, in its base unit (bytes, CPUs)."""
    parts = _PARTS.fullmatch(text)
    assert parts is not None, text  # noqa: S101 - callers have matched PATTERN
    number, suffix = Fraction(parts[1]), parts[2]
    if suffix in _BINARY[1:]:
        return number * Fraction(1024) ** _BINARY.index(suffix)
    if suffix in _DECIMAL:
        return number * Fraction(1000) ** (_DECIMAL.index(suffix) - 3)
    return number * Fraction(10) ** int(suffix[1:])


def in_bytes(text: str) -> int:
    """The value of a quantity in whole bytes, rounded up as the API server does."""
    return ceil(exact(text))


def whole(text: str) -> str:
    """Round a canonical quantity up to whole bytes: of a fraction (`0.1Gi` is one) the API server warns."""
    return text if exact(text).denominator == 1 else canonical(str(in_bytes(text)))


def _shortest(number: int, step: int, suffixes: list[str]) -> str:
    exponent = 0
    while number % step == 0 and exponent < len(suffixes) - 1:
        number, exponent = number // step, exponent + 1
    return f"{number}{suffixes[exponent]}"


def _parse(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticCustomError("quantity", "must be a quantity such as 16Gi, 500m or 4")
    text = str(value)
    if len(text) > MAX_LENGTH or not re.fullmatch(PATTERN, text, re.ASCII):
        raise PydanticCustomError(
            "quantity", "must be a quantity that is not negative, such as 16Gi, 500m or 4"
        )
    if exact(text) > _MOST:
        raise PydanticCustomError("rule", "{message}", {"message": _TOO_LARGE})
    return canonical(text)


Quantity = Annotated[
    str,
    BeforeValidator(_parse),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": PATTERN,
            "maxLength": MAX_LENGTH,
            "minimum": 0,
            # Far beyond it the API server's own form loses digits (`1000E` comes back as `1`), and its
            # parser takes everything from `8Ei` on for 2^63-1.
            "x-kubernetes-validations": [
                {
                    "rule": "!isQuantity(string(self)) || "
                    "!quantity(string(self)).isGreaterThan(quantity('1Ei'))",
                    "message": _TOO_LARGE,
                }
            ],
        }
    ),
]
"""A quantity that is not negative, kept in canonical form."""

Size = Annotated[Quantity, AfterValidator(whole)]
"""A quantity of bytes, kept in canonical form and without a fraction."""
