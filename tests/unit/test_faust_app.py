"""Faust as a consumer: what is said when it gives up."""

from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError

from worker.errors import FatalError, OutOfMemory, ScreenerError
from worker.faust_app import crash_of

VALUE = b"\xffsomebody's words"


def unreadable() -> UnicodeDecodeError:
    try:
        VALUE.decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError("it can be read")


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        (OutOfMemory("screening failed"), OutOfMemory, "screening failed"),
        (KafkaConnectionError("broker 3 is away"), FatalError, "broker 3 is away"),
        (OSError(28, "No space left"), FatalError, "No space left"),
        (unreadable(), FatalError, "UnicodeDecodeError, raised at"),
        (None, FatalError, "None"),
    ],
)
async def test_it_says_why_faust_gave_up_and_quotes_nobody(
    reason: BaseException | None, kind: type[ScreenerError], said: str
) -> None:
    async def over() -> None:
        """Faust has given up already."""

    with pytest.raises(kind, match=said) as raised:
        await crash_of(SimpleNamespace(wait=over, crash_reason=reason))  # type: ignore[arg-type]
    assert "words" not in str(raised.value)
