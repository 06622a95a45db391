"""JSON Schemas of the records, made from the structs; `schemas/` holds the output and a test compares."""

from typing import Any

import msgspec

from worker.records import Comment, DeadLetter, Decision

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schemas() -> dict[str, dict[str, Any]]:
    """File name (without suffix) → schema, one for each record that crosses the border."""
    records = {"comment": Comment, "decision": Decision, "dead-letter": DeadLetter}
    return {name: {"$schema": _DIALECT} | msgspec.json.schema(record) for name, record in records.items()}
