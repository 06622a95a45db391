"""JSON Schemas of the records, made from the structs; `schemas/` holds the output and a test compares."""

from typing import Any

import msgspec

from worker.errors import Reason, Stage
from worker.records import Action, AgeBand, Comment, DeadLetter, Decision, Mode

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ENUMS = {enum.__name__: enum for enum in (Action, AgeBand, Mode, Reason, Stage)}


def json_schemas() -> dict[str, dict[str, Any]]:
    """File name (without suffix) → schema, one for each record that crosses the border."""
    records = {"comment": Comment, "decision": Decision, "dead-letter": DeadLetter}
    return {name: {"$schema": _DIALECT} | _in_order(msgspec.json.schema(record)) for name, record in records.items()}


def _in_order(schema: dict[str, Any]) -> dict[str, Any]:
    """The values of its enums as they were declared, since descriptions go by that; msgspec sorts them."""
    for name, definition in schema["$defs"].items():
        if "enum" in definition:
            definition["enum"] = [member.value for member in _ENUMS[name]]
    return schema
