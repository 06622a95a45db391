"""A dead letter, for whoever needs one and cares for a field or two of it."""

from typing import Any

from worker.errors import Reason, Stage
from worker.records import DeadLetter, Model, PolicyVersion, Source


def dead_letter(**changes: Any) -> DeadLetter:
    """Of a text that the model cannot score, but for what is changed."""
    fields: dict[str, Any] = {
        "stage": Stage.CLASSIFY,
        "reason": Reason.UNCLASSIFIABLE,
        "error_class": "ValueError",
        "error_message": "the model cannot score this text",
        "attempts": 1,
        "worker": "worker-1",
        "worker_version": "0.2.0",
        "model": Model("default", "0.1.0", "a" * 64),
        "policy": PolicyVersion("strict", "3", "b" * 64),
        "source": Source("comments", 2, 41),
        "timestamp_ms": 1_795_000_000_123,
        "key": b"key",
        "value": b"value",
        "headers": [],
    }
    return DeadLetter(**fields | changes)
