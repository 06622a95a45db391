"""`dead-letters`, with no Kafka: what is asked wrongly, the order of writes, batches, what is left open, what is shown."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pytest
import typer
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError
from msgspec.structs import replace
from typer.testing import CliRunner

from tests.fakes import NOON, FailingPublisher, RecordingPublisher
from tests.unit.test_redrive import TopicRecord, letter, letter_headers, note, record
from worker import cli_dead_letters as cli
from worker.cli import app
from worker.dead_letters_topic import Handling, LettersReader
from worker.demo.broker import free_port
from worker.errors import FatalError
from worker.publisher import Message
from worker.records import Place, Source
from worker.redrive import Found, Letter, Query, State, read_record
from worker.settings import Settings

LETTERS, COMMENTS = "dead-letters", "comments"


def numbered(count: int, value: bytes = b"value") -> list[Letter]:
    read = [read_record(TopicRecord(at % 2, at, value=value, headers=letter_headers())) for at in range(count)]
    return [each for each in read if isinstance(each, Letter)]


async def streamed(letters: Iterable[Letter]) -> AsyncIterator[Letter]:
    for each in letters:
        yield each


def handling(sink: RecordingPublisher, partitions: int = 4) -> Handling:
    return Handling(
        sink,
        letters_topic=LETTERS,
        comments_topic=COMMENTS,
        comments_partitions=partitions,
        by="ann@desk",
        clock=lambda: NOON,
    )


# ---- what is written


async def test_a_redrive_writes_the_comment_as_it_was_and_then_the_note() -> None:
    publisher = RecordingPublisher()
    own = [("trace", b"\xff"), ("trace", None)]
    buried = letter(own)

    assert await handling(publisher).redrive([buried]) == []
    assert publisher.published == [
        Message(COMMENTS, b"key", b"value", [*own, ("screener-redrives", b"1")], None, 2),
        Message(
            LETTERS,
            b"0/0",
            None,
            [
                ("screener-handled", b"redriven"),
                ("screener-handled-partition", b"0"),
                ("screener-handled-offset", b"0"),
                ("screener-handled-by", b"ann@desk"),
                ("screener-handled-at", b"2026-11-24T12:00:00.000Z"),
            ],
            None,
            0,
        ),
    ]


@pytest.mark.parametrize("key", [None, b"", b"\x00"])
@pytest.mark.parametrize("value", [b"", b"\x00"])
async def test_null_and_empty_stay_what_they_are(key: bytes | None, value: bytes) -> None:
    publisher = RecordingPublisher()
    read = read_record(TopicRecord(0, 0, key=key, value=value, headers=letter_headers()))
    assert isinstance(read, Letter)
    await handling(publisher).redrive([read])

    assert [(message.key, message.value) for message in publisher.published] == [(key, value), (b"0/0", None)]


@pytest.mark.parametrize(
    ("source", "partition"),
    [(Source(COMMENTS, 3, 0), 3), (Source(COMMENTS, 4, 0), None), (Source("elsewhere", 3, 0), None), (None, None)],
)
async def test_a_comment_goes_to_its_partition_where_there_still_is_one(
    source: Source | None, partition: int | None
) -> None:
    publisher = RecordingPublisher()
    await handling(publisher, partitions=4).redrive([letter(source=source)])

    assert publisher.on(COMMENTS)[0].partition == partition


async def test_without_a_confirmation_no_note_is_written() -> None:
    publisher = FailingPublisher()
    with pytest.raises(FatalError):
        await handling(publisher).redrive(numbered(3))

    assert [message.topic for attempt in publisher.attempts for message in attempt] == [COMMENTS] * 3


async def test_a_comment_too_large_for_its_topic_stays_open() -> None:
    first, _, third = numbered(3)
    (large,) = numbered(1, value=b"large")
    publisher = RecordingPublisher(too_large=lambda message: message.value == b"large")

    assert await handling(publisher).redrive([first, large, third]) == [large]
    assert [message.key for message in publisher.on(LETTERS)] == [b"0/0", b"0/2"]


async def test_a_discard_writes_notes_alone() -> None:
    publisher = RecordingPublisher()
    assert await handling(publisher).discard(numbered(2)) == []

    assert [(message.topic, message.partition, message.headers[0][1]) for message in publisher.published] == [
        (LETTERS, 0, b"discarded"),
        (LETTERS, 1, b"discarded"),
    ]


# ---- how a run goes


class Acts:
    """What was asked to be done, in batches."""

    def __init__(self, too_large: Sequence[Letter] = (), fails_after: int = 10**6) -> None:
        self.batches: list[list[Letter]] = []
        self._too_large = too_large
        self._fails_after = fails_after
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    @property
    def letters(self) -> list[Letter]:
        return [letter for batch in self.batches for letter in batch]

    async def __call__(self, batch: Sequence[Letter]) -> list[Letter]:
        if len(self.batches) == self._fails_after:
            raise FatalError("3 records not confirmed within 1 s: no answer")
        self.begun.set()
        await self.may_end.wait()
        self.batches.append(list(batch))
        return [each for each in batch if each in self._too_large]


async def perform(letters: Sequence[Letter], acts: Acts, *, rate: float | None = None, refused: Any = ()) -> None:
    def judge(asked: Letter) -> str | None:
        return "not today" if asked in refused else None

    await cli._perform(streamed(letters), len(letters), State.REDRIVEN, judge, acts, rate=rate)


async def test_everything_is_done_in_batches_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    letters, acts = numbered(250), Acts()
    await perform(letters, acts)

    assert [len(batch) for batch in acts.batches] == [100, 100, 50]
    assert acts.letters == letters
    assert capsys.readouterr() == ("250 of 250 letters redriven\n", "")


@pytest.mark.parametrize(("rate", "largest"), [(1e9, 100), (7.9, 7), (0.5, 1)])
async def test_a_batch_is_no_more_than_a_second_of_the_rate(rate: float, largest: int) -> None:
    batches = [len(batch) async for batch in cli._batches(streamed(numbered(250)), max(1, min(100, int(rate))))]

    assert max(batches) == largest
    assert sum(batches) == 250


async def test_large_letters_make_small_batches() -> None:
    letters = numbered(20, value=bytes(2**20))

    assert [len(batch) async for batch in cli._batches(streamed(letters), 100)] == [8, 8, 4]


async def test_what_is_refused_stays_open_is_named_and_shows_in_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    letters, acts = numbered(60), Acts()
    with pytest.raises(typer.Exit) as ended:
        await perform(letters, acts, refused=letters[10:40])

    assert ended.value.exit_code == 1
    assert acts.letters == letters[:10] + letters[40:]
    out, err = capsys.readouterr()
    assert out == "30 of 60 letters redriven, 30 left open\n"
    assert err.splitlines()[0] == "0/10: left open: not today"
    assert err.splitlines()[20:] == ["and 10 more left open"]


async def test_what_is_too_large_is_counted_as_left_open(capsys: pytest.CaptureFixture[str]) -> None:
    letters = numbered(3)
    with pytest.raises(typer.Exit):
        await perform(letters, Acts(too_large=letters[1:2]))

    assert capsys.readouterr() == (
        "2 of 3 letters redriven, 1 left open\n",
        "1/1: left open: too large for the comments topic with one more header\n",
    )


async def test_where_it_fails_it_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FatalError):
        await perform(numbered(250), Acts(fails_after=2))

    assert capsys.readouterr().out == "200 of 250 letters redriven\n"


async def test_interrupted_it_finishes_the_batch_in_hand(capsys: pytest.CaptureFixture[str]) -> None:
    acts = Acts()
    acts.may_end.clear()
    performing = asyncio.create_task(perform(numbered(250), acts))
    await acts.begun.wait()
    performing.cancel()
    await asyncio.sleep(0)
    assert acts.batches == []
    acts.may_end.set()

    with pytest.raises(typer.Exit) as ended:
        await performing
    assert ended.value.exit_code == 1
    assert capsys.readouterr() == (
        "100 of 250 letters redriven\n",
        "interrupted: the same command goes on with what is open\n",
    )


async def test_interrupted_while_it_waits_for_its_turn_it_ends_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    acts = Acts()
    performing = asyncio.create_task(perform(numbered(3), acts, rate=0.001))
    await acts.begun.wait()
    while not acts.batches:  # noqa: ASYNC110  it is at work
        await asyncio.sleep(0)
    performing.cancel()

    with pytest.raises(typer.Exit):
        await performing
    assert len(acts.batches) == 1
    assert capsys.readouterr().out == "1 of 3 letters redriven\n"


# ---- how the topic is read


class FakeConsumer:
    """One topic in memory, given out two records at a time; `silent_at`: from this offset on there is no answer."""

    def __init__(self, records: Sequence[TopicRecord], silent_at: int = 10**6) -> None:
        self._records = records
        self._silent_at = silent_at
        self._at: dict[TopicPartition, int] = {}
        self.read: list[Place] = []

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        self._at = dict.fromkeys(partitions, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._at[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        return self._at[tp]

    async def getmany(self, tp: TopicPartition, timeout_ms: int) -> dict[TopicPartition, list[TopicRecord]]:
        assert timeout_ms > 0
        await asyncio.sleep(0.001)
        ahead = [each for each in self._records if each.partition == tp.partition and each.offset >= self._at[tp]]
        given = [each for each in ahead[:2] if each.offset < self._silent_at]
        if given:
            self._at[tp] = given[-1].offset + 1
        self.read += [Place(each.partition, each.offset) for each in given]
        return {tp: given} if given else {}


def reader(consumer: FakeConsumer, beginnings: dict[int, int], ends: dict[int, int]) -> LettersReader:
    return LettersReader(consumer, LETTERS, beginnings=beginnings, ends=ends, patience_s=0.05)


async def test_nothing_past_the_end_that_was_taken_is_read() -> None:
    topic = FakeConsumer([record(0), record(1), record(2), note(0, 3), record(4)])
    survey = await reader(topic, {0: 0, 1: 0}, {0: 3, 1: 0}).survey(Query())

    assert list(survey.found()) == [Place(0, 0), Place(0, 1), Place(0, 2)]


async def test_a_partition_begins_where_retention_left_it_and_may_have_holes() -> None:
    topic = FakeConsumer([record(3), record(7), note(3, 8), record(9)])
    letters = reader(topic, {0: 3}, {0: 10})
    seen: list[tuple[int, int]] = []

    survey = await letters.survey(Query(), lambda passed, total: seen.append((passed, total)))
    assert list(survey.found()) == [Place(0, 7), Place(0, 9)]
    assert seen[-1] == (7, 7)
    assert [each.place async for each in letters.letters(survey.found())] == [Place(0, 7), Place(0, 9)]


async def test_letters_come_from_their_partitions_and_others_are_not_read() -> None:
    topic = FakeConsumer([record(at, partition) for partition in range(3) for at in range(6)])
    wanted = [Place(2, 1), Place(0, 3), Place(0, 5)]

    read = [
        each.place
        async for each in reader(topic, dict.fromkeys(range(3), 0), dict.fromkeys(range(3), 6)).letters(wanted)
    ]
    assert read == [Place(0, 3), Place(0, 5), Place(2, 1)]
    assert {place.partition for place in topic.read} == {0, 2}
    assert min(place.offset for place in topic.read if place.partition == 0) == 3


async def test_a_broker_that_falls_silent_is_not_waited_for_for_ever() -> None:
    topic = FakeConsumer([record(at) for at in range(6)], silent_at=3)

    with pytest.raises(FatalError, match=r"nothing from Kafka for 0.05 s at dead-letters/0/3, before its end"):
        await reader(topic, {0: 0}, {0: 6}).survey(Query())


# ---- what is shown


def test_a_letter_is_described_without_its_value() -> None:
    buried = letter([("trace", b"\x00"), ("empty", b""), ("none", None)], error_message="not \x1b[31m JSON")
    shown = "\n".join(cli._described(buried, State.OPEN))

    assert "5 bytes, sha256 cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619" in shown
    assert "b'value'" not in shown
    assert [line.split(maxsplit=1)[1] for line in shown.splitlines() if line.startswith("header")] == [
        "trace: '\\x00'",
        "empty: ''",
        "none: null",
    ]
    assert "not \\x1b[31m JSON" in shown
    assert "\x1b" not in shown


def test_a_row_and_a_line_hold_no_value_either() -> None:
    buried = letter([("screener-redrives", b"2")], error_message="[bold]x[/bold]")

    assert [cell.plain for cell in cli._cells(buried, State.OPEN)] == [
        "0/0",
        "2026-11-18T11:06:40.123Z",
        "open",
        "invalid_json",
        "decode",
        "2",
        "0.2.0",
        "[bold]x[/bold]",
    ]
    assert '"redrives":2' in cli._as_json(buried, State.OPEN)
    assert '"value"' not in cli._as_json(buried, State.OPEN)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([], "0 open"),
        ([Found("invalid_json"), Found("invalid_id"), Found("invalid_json")], "3 open: 2 invalid_json, 1 invalid_id"),
        ([Found("invalid_id", State.DISCARDED)], "0 open, 1 discarded: 1 invalid_id"),
    ],
)
def test_the_summary(found: list[Found], line: str) -> None:
    assert cli._summary(found) == line


# ---- what is asked


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"SCREENER_{name.upper()}", raising=False)
    monkeypatch.setattr(cli, "configure_logs", lambda _: None)  # logging is global
    return monkeypatch


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "--since", "yesterday"], "yesterday: not a time with a zone"),
        (["list", "--until", "2026-11-24T10:00:00"], "not a time with a zone"),
        (["list", "--reason", "boredom"], "boredom"),
        (["list", "--limit", "0"], "Invalid value for '--limit'"),
        (["show", "3-41"], "3-41: not PARTITION/OFFSET, for example 3/41"),
        (["show"], "Missing argument"),
        (["redrive", "3/41", "x"], "x: not PARTITION/OFFSET"),
        (["redrive", "3/41", "--reason", "invalid_json"], "give either PARTITION/OFFSET or filters"),
        (["redrive", "3/41", "--partition", "0"], "give either PARTITION/OFFSET or filters"),
        (["redrive", "--rate", "0"], "Invalid value for '--rate'"),
        (["redrive", "--limit", "0"], "Invalid value for '--limit'"),
        (["discard", "3/41", "--since", "2h"], "give either PARTITION/OFFSET or filters"),
        (["list"], "SCREENER_KAFKA_BOOTSTRAP_SERVERS: Field required"),
    ],
)
def test_what_cannot_be_done_as_asked(environment: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    environment.setenv("COLUMNS", "200")
    result = CliRunner().invoke(app, ["dead-letters", *arguments])

    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.parametrize("arguments", [["list"], ["show", "0/0"], ["redrive"], ["discard", "--yes"]])
def test_a_broker_that_does_not_answer(environment: pytest.MonkeyPatch, arguments: list[str]) -> None:
    environment.setenv("SCREENER_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{free_port()}")
    result = CliRunner().invoke(app, ["dead-letters", *arguments])

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("comment-screener: no answer from Kafka at 127.0.0.1:")


def test_a_broker_that_goes_away_is_one_line() -> None:
    async def lose() -> None:
        raise KafkaConnectionError("gone")

    with pytest.raises(FatalError, match=r"Kafka: KafkaConnectionError: .*gone"):
        cli._run(lose())


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_000_000_123, "2026-11-18T11:06:40.123Z"),
        (1_700_000_000_000_000, "1700000000000000 ms"),
        (2**62, f"{2**62} ms"),
        (None, ""),
    ],
)
def test_a_time_in_other_units_is_shown_as_it_is(time_ms: int | None, shown: str) -> None:
    assert cli._time(replace(letter(), time_ms=time_ms)) == shown
