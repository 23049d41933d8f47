"""What every model of a resource shares: naming, strictness, and rules that hold twice.

A rule of several fields is written once, beside its model: the CEL text goes into the CRD, the Python
predicate runs when an object is parsed, and both answer with the same message. One table of cases in
the tests asks the models and a real API server, and the verdicts must agree.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic_core import PydanticCustomError

GROUP = "vllm-operator.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Rule:
    """One cross-field rule, as CEL for the API server and as a predicate for the models.

    A transition rule (its CEL speaks of `oldSelf`) has no predicate: an object alone cannot break it.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None


class Model(BaseModel):
    """Base of every model of a resource: camelCase in YAML, frozen, as strict as the API server.

    Unknown fields are ignored, so that an operator that was rolled back survives newer objects; the
    command line refuses them (`extra="forbid"` when it parses).
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, data: Any) -> Any:
        return without_nulls(data)

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        for rule in self.rules:
            if rule.holds is not None and not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message})
        return self


def without_nulls(data: Any) -> Any:
    """The API server prunes a null before it sets defaults, so a null means that nothing was said."""
    if isinstance(data, Mapping):
        return {key: value for key, value in data.items() if value is not None}
    return data


def checked(*rules: Rule) -> Any:
    """Put rules on a single value, for `Annotated[str, *checked(...)]`: an error names the very element."""

    def check(value: Any) -> Any:
        for rule in rules:
            if rule.holds is not None and not rule.holds(value):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message})
        return value

    return AfterValidator(check), _extra({VALIDATIONS: [as_validation(rule) for rule in rules]})


def list_map(*keys: str) -> Any:
    """A list whose items are known by keys, for `Annotated[list[T], *list_map(...)]`: none comes twice."""
    schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}

    def known_by(item: Any) -> str:
        return " ".join(str(getattr(item, to_snake(key))) for key in keys)

    return AfterValidator(lambda items: _unique(items, known_by)), _extra(schema)


def list_set() -> Any:
    """A list in which no value comes twice, for `Annotated[list[T], *list_set()]`."""
    return AfterValidator(lambda items: _unique(items, str)), _extra({"x-kubernetes-list-type": "set"})


def list_atomic() -> Any:
    """A list that an apply replaces as a whole, for `Annotated[list[T], *list_atomic()]`."""
    return (_extra({"x-kubernetes-list-type": "atomic"}),)


def _unique(items: list[Any], key: Callable[[Any], str]) -> list[Any]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        if key(item) in seen:
            raise PydanticCustomError(
                "duplicate", "item [{index}] repeats {key}", {"index": index, "key": key(item)}
            )
        seen.add(key(item))
    return items


def _extra(schema: dict[str, Any]) -> Any:
    return Field(json_schema_extra=schema)


VALIDATIONS = "x-kubernetes-validations"


def as_validation(rule: Rule) -> dict[str, str]:
    """Write a rule as one entry of `x-kubernetes-validations`."""
    return {"rule": rule.cel, "message": rule.message}


class InvalidObjectError(ValueError):
    """An object breaks the rules of its kind.

    `problems` holds one line for each: the field's path, a colon, what is wrong with it.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def path(*parts: str | int) -> str:
    """Write a place in an object as Kubernetes does: `spec.extraEnv[2].name`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def problems(error: ValidationError, *above: str | int) -> tuple[str, ...]:
    """Turn pydantic's errors into lines of `path: message`, below the place `above`."""
    return tuple(
        f"{path(*above, *item['loc'])}: {_words(item['type'], item['msg'])}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    )


def _words(kind: str, message: str) -> str:
    plain = {
        "missing": "is required",
        "extra_forbidden": "is not a field of this resource; check the spelling",
    }
    return plain.get(kind, message)
