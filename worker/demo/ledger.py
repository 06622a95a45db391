"""What went in, what came out, and whether it adds up.

Pure. An input is known by where Kafka put it; what comes out names that place. The two are told of in either order: a
decision can be read before the producer has heard where its comment went.
"""

from collections import Counter

import msgspec
from msgspec import Struct

from worker.records import Decision, Place

_NAMED_AT_MOST = 5


class Input(Struct, frozen=True):
    """One record that Kafka confirmed."""

    value: bytes
    sent_at: float
    comment_id: str | None = None
    text: str | None = None


class Outcome(Struct, frozen=True):
    """What the worker made of one record: a decision, or else the reason of a dead letter."""

    read_at: float
    decision: Decision | None = None
    dead_reason: str = ""

    @property
    def verdict(self) -> str:
        """The action, or `dead letter`."""
        return "dead letter" if self.decision is None else self.decision.action.value

    @property
    def identity(self) -> str:
        """Two outcomes of one record are the same when this is."""
        return self.dead_reason if self.decision is None else self.decision.decision_id


class Row(Struct, frozen=True):
    """An input and what became of it."""

    record: Input
    outcome: Outcome

    @property
    def latency_s(self) -> float:
        """From handing the record to Kafka's client until its outcome was read back from Kafka."""
        return self.outcome.read_at - self.record.sent_at


class Ledger:
    """Both sides, joined by place. Times are of one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        """Every input with an outcome, in the order in which they were complete."""
        self.repeats = 0
        """Outcomes that came again, as at-least-once allows."""
        self._inputs: dict[Place, Input] = {}
        self._outcomes: dict[Place, Outcome] = {}
        self._differing: set[Place] = set()

    @property
    def inputs(self) -> int:
        return len(self._inputs)

    @property
    def complete(self) -> bool:
        """Whether every input so far has an outcome."""
        return len(self.rows) == len(self._inputs)

    def record_input(self, place: Place, value: bytes, sent_at: float) -> None:
        """Kafka has confirmed a record."""
        self._inputs[place] = read_input(value, sent_at)
        if place in self._outcomes:
            self.rows.append(Row(self._inputs[place], self._outcomes[place]))

    def record_outcome(self, place: Place, outcome: Outcome) -> None:
        """A decision or a dead letter was read. The first one counts; a later one is a repeat."""
        first = self._outcomes.setdefault(place, outcome)
        if first is not outcome:
            self.repeats += 1
            if first.identity != outcome.identity:
                self._differing.add(place)
        elif place in self._inputs:
            self.rows.append(Row(self._inputs[place], outcome))

    def totals(self) -> Counter[str]:
        """Inputs by verdict."""
        return Counter(row.outcome.verdict for row in self.rows)

    def dead_letters(self) -> Counter[str]:
        """Dead letters by reason."""
        return Counter(row.outcome.dead_reason for row in self.rows if row.outcome.decision is None)

    def latencies_s(self) -> list[float]:
        """In ascending order."""
        return sorted(row.latency_s for row in self.rows)

    def duration_s(self) -> float:
        """From the first input to the last outcome."""
        if not self.rows:
            return 0.0
        return max(row.outcome.read_at for row in self.rows) - min(row.record.sent_at for row in self.rows)

    def problems(self) -> list[str]:
        """Why it does not add up, a line each; empty when it does."""
        mistaken = [
            place
            for place, outcome in self._outcomes.items()
            if place in self._inputs
            and outcome.decision is not None
            and outcome.decision.comment_id != self._inputs[place].comment_id
        ]
        found = (
            ("without a decision or a dead letter", self._inputs.keys() - self._outcomes.keys()),
            ("with an outcome, though nobody sent them", self._outcomes.keys() - self._inputs.keys()),
            ("decided twice, and differently", self._differing),
            ("whose decision names another comment", mistaken),
        )
        return [f"{len(places)} records {what}: {_named(sorted(places))}" for what, places in found if places]


def read_input(value: bytes, sent_at: float) -> Input:
    """A record as the demo knows it: with its text and id where it has them."""
    try:
        fields = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Input(value, sent_at)
    if not isinstance(fields, dict):
        return Input(value, sent_at)
    comment_id, text = (
        found if isinstance(found := fields.get(name), str) else None for name in ("comment_id", "text")
    )
    return Input(value, sent_at, comment_id, text)


def _named(places: list[Place]) -> str:
    more = len(places) - _NAMED_AT_MOST
    listed = ", ".join(str(place) for place in places[:_NAMED_AT_MOST])
    return f"partition/offset {listed}" + (f" and {more} more" if more > 0 else "")
