"""Reading settings from texts: pydantic validates the fields of a dataclass, and each problem becomes a sentence.

Belongs here: what is the same for every dataclass of settings. Not here: which settings there are, and which of them go
together. Pydantic's own messages are never shown, because they repeat the value.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from qol_dagster.settings import kinds

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails


def read_fields(
    settings: type, given: Mapping[str, str], name_of: Callable[[str], str] = str
) -> tuple[dict[str, Any], list[str]]:
    """Return the valid values by field, and a sentence on every other text.

    `given` has a text by name, and `name_of` the name of a field there. A field that is not given is no problem here.
    """
    model = _model(settings, name_of)
    known = {name_of(name): field for name, field in model.model_fields.items()}
    errors = _errors(model, given)
    valid = model.model_validate_strings({name: text for name, text in given.items() if name not in errors})
    problems = [
        _problem(name, given[name], error, known[name]) if name in known else _unknown(name, known)
        for name, error in errors.items()
    ]
    return {name: getattr(valid, name) for name in valid.model_fields_set}, problems


def _model(settings: type, name_of: Callable[[str], str]) -> type[BaseModel]:
    """Return a model with the fields of a dataclass, each of which may be absent."""
    hints = get_type_hints(settings, localns=vars(kinds), include_extras=True)
    usual = {item.name: None if item.repr else Field(None, repr=False) for item in fields(settings)}
    config = ConfigDict(extra="forbid", alias_generator=name_of, hide_input_in_errors=True)
    definitions: dict[str, Any] = {name: (hints[name], default) for name, default in usual.items()}
    return create_model(settings.__name__, __config__=config, **definitions)


def _errors(model: type[BaseModel], given: Mapping[str, str]) -> dict[str, ErrorDetails]:
    """Return one of pydantic's errors for each name in which it finds any."""
    try:
        model.model_validate_strings(given)
    except ValidationError as error:
        return {str(details["loc"][0]): details for details in error.errors(include_url=False)}
    return {}


def _problem(name: str, text: str, error: ErrorDetails, field: FieldInfo) -> str:
    if error["type"] == "value_error" and field.repr:  # raised by a validator of ours, in our words
        return f"{name} {error['ctx']['error']}"
    what = field.description or f"one of {', '.join(get_args(field.annotation))}"
    return f"{name} must be {what}" + (f", not {text!r}" if field.repr else "")


def _unknown(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{name} is no setting" + (f", did you mean {near[0]}?" if near else "")
