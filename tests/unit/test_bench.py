"""The benchmark's pure parts: texts are spread as they say, everybody has his turn, and nobody who is missing is left out."""

import contextlib
import io
import json
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import log
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
import typer
from rich.console import Console
from tokenizers import Tokenizer
from typer.testing import CliRunner

from bench import engine, gpu, latency, profile, scale, start, streaming
from bench.comments import comment_values
from bench.contest import Contestant, NotInstalledError
from bench.instant import InstantClassifier, detect_nothing, instant_screener
from bench.kafka import Drained, in_the_middle
from bench.machine import describe_machine
from bench.picture import draw
from bench.plan import Plan
from bench.report import PER_S, TIMES, Row, compare, number, table, to_json
from bench.rounds import interleave, percentile, ratios
from bench.stacks import LAYERS, LOOP, by_call, by_function, by_layer, by_thread, read_stacks
from bench.texts import (
    HOSTILE_SHARE,
    LENGTH_MU,
    LENGTH_SIGMA,
    LONGEST_SHARE,
    SHORT_TOKENS,
    STOCK_SHARE,
    TYPED_SHARE,
    comment_texts,
    hostile_texts,
    texts_of,
)
from worker.codec import decode_comment
from worker.normalise import _PLAIN, normalise
from worker.records import MAX_TEXT_CHARACTERS, Decision
from worker.screening import Record

ROOT: Final = Path(__file__).parents[2]
FITTED: Final = 25_568
"""Comments of the set that the distribution was fitted to."""
TEXTS: Final = comment_texts(FITTED, 1)


def tokens(texts: list[str]) -> list[int]:
    tokenizer = Tokenizer.from_file(str(ROOT / "worker/models/default/tokenizer.json"))
    tokenizer.no_truncation()
    return [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


# Texts.


def test_lengths_are_log_normal() -> None:
    usual = [log(count) for count in tokens([text for text in TEXTS if len(text) < MAX_TEXT_CHARACTERS])]

    # Stock texts, a tenth, are shorter: the mean lies a twentieth below that of the others.
    assert statistics.fmean(usual) == pytest.approx(LENGTH_MU - STOCK_SHARE * (LENGTH_MU - log(9)), abs=0.03)
    assert statistics.stdev(usual) == pytest.approx(LENGTH_SIGMA, abs=0.05)


def test_as_many_are_repeats_as_in_the_set_that_was_counted() -> None:
    counts = Counter(TEXTS)
    repeats = 1 - len(counts) / FITTED

    assert repeats == pytest.approx(0.050, abs=0.01)
    assert 12 <= counts.most_common(1)[0][1] <= 40


def test_a_few_are_as_long_as_a_record_may_be() -> None:
    longest = sum(len(text) == MAX_TEXT_CHARACTERS for text in TEXTS)

    assert longest / FITTED == pytest.approx(LONGEST_SHARE, rel=0.5)
    assert max(map(len, TEXTS)) == MAX_TEXT_CHARACTERS


def test_words_marks_and_emoji_are_a_token_each() -> None:
    for length in (1, 2, 5, 60):
        assert tokens(texts_of(length, 40, 1)) == [length] * 40


def test_more_than_half_are_typed_as_people_do() -> None:
    typed = sum(_PLAIN.fullmatch(text) is None for text in TEXTS)

    assert typed / FITTED == pytest.approx(TYPED_SHARE, abs=0.02)
    assert 0.05 < sum(not text.isascii() for text in TEXTS) / FITTED < 0.1


def test_the_normaliser_leaves_them_as_long_as_they_are() -> None:
    sample = texts_of(15, 200, 1)

    assert tokens([normalise(text) for text in sample]) == [15] * 200


def test_every_hundredth_of_a_hostile_mix_is_at_the_limit() -> None:
    texts = hostile_texts(2000, 1)
    long = [at for at, text in enumerate(texts) if len(text) == MAX_TEXT_CHARACTERS]

    assert len(long) == 2000 * HOSTILE_SHARE
    assert {later - earlier for earlier, later in pairwise(long)} == {100}
    assert set(tokens([text for at, text in enumerate(texts) if at not in long])) == {SHORT_TOKENS}


def test_the_same_seed_makes_the_same_texts_and_another_others() -> None:
    assert comment_texts(200, 7) == comment_texts(200, 7)
    assert comment_texts(200, 7) != comment_texts(200, 8)


def test_every_text_makes_a_valid_comment_under_an_id_of_its_own() -> None:
    texts = TEXTS[:300]
    read = [decode_comment(value) for value in comment_values(texts, "x")]

    assert [comment.text for comment in read] == texts
    assert len({comment.comment_id for comment in read}) == 300


# Rounds.


def test_each_has_one_turn_a_round_and_the_first_turn_moves_on() -> None:
    turns: list[str] = []
    interleave({name: lambda name=name: turns.append(name) for name in "abc"}, 4)  # type: ignore[misc]  # bound now

    assert "".join(turns) == "abcbcacababc"


def test_results_come_back_by_name_in_the_order_of_the_rounds() -> None:
    clock = iter(range(100))
    found = interleave({"a": lambda: next(clock), "b": lambda: next(clock)}, 3)

    assert found == {"a": [0, 3, 4], "b": [1, 2, 5]}


def test_without_anybody_there_is_nothing() -> None:
    assert interleave({}, 3) == {}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([10, 40], [5, 10]) == [2, 4]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_the_value_at_its_rank(share: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), share) == expected


def test_of_nothing_there_is_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_decisions_a_second() -> None:
    assert Drained(seconds=2.0, decisions=1000).per_s == 500
    assert Drained(seconds=0.0, decisions=0).per_s == 0


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_work_that_began_before_the_clock_gives_nobody_a_higher_rate(workers: int) -> None:
    # Windows of 100, one a second from each; all have their first within a quarter of it.
    turns = [(second, worker) for second in range(30) for worker in range(workers)]
    times = sorted(1000 * second + 250 * worker * (second > 0) for second, worker in turns for _ in range(100))

    assert in_the_middle(times).per_s == pytest.approx(100 * workers, rel=0.02)


# Report.


MISSING: Final = Row("engine", "a peer", PER_S, [], "not installed: torch")
ENGINE: Final = Row("engine", "engine", PER_S, [800.0, 900.0, 700.0], "a note")


def shown(*rows: Row) -> str:
    console = Console(width=200, file=io.StringIO())
    with console.capture() as shown:
        console.print(table(rows))
    return shown.get()


def test_the_median_is_shown_between_the_least_and_the_most() -> None:
    (line,) = [line for line in shown(ENGINE).splitlines() if "engine" in line]

    assert re.search(r"\b800\b.*\b700 to 900\b.*comments/s.*a note", line)


def test_who_is_missing_is_shown_with_the_reason() -> None:
    assert "not installed: torch" in shown(MISSING)


def test_a_ratio_with_who_is_missing_says_so() -> None:
    row = compare("engine", ("engine", "a peer"), ENGINE.values, MISSING.values)

    assert (row.unit, list(row.values), row.note) == (TIMES, [], "no figure for: a peer")


def test_a_ratio_of_two_has_one_value_a_round() -> None:
    row = compare("engine", ("engine", "a peer"), ENGINE.values, [400.0, 300.0, 350.0])

    assert (row.name, list(row.values), row.median) == ("engine ÷ a peer", [2.0, 3.0, 2.0], 2.0)


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.987, "0.99"), (12.34, "12.3"), (812.4, "812"), (12_345.6, "12,346")]
)
def test_a_number_has_as_many_digits_as_mean_anything(value: float, text: str) -> None:
    assert number(value) == text


def test_the_json_holds_each_round_the_machine_and_who_is_missing() -> None:
    content: dict[str, Any] = json.loads(to_json([ENGINE, MISSING], {"cpu": "x"}, ["a footnote"], rounds=3))

    assert content["run"] == {"rounds": 3}
    assert content["machine"] == {"cpu": "x"}
    assert content["footnotes"] == ["a footnote"]
    assert [row["values"] for row in content["rows"]] == [[800, 900, 700], []]
    assert [row["median"] for row in content["rows"]] == [800, None]


def test_the_picture_is_drawn_of_whatever_there_is() -> None:
    for rows in ([ENGINE, MISSING], [MISSING], []):
        assert draw(rows, {"cpu": "x", "cores": "2"}).startswith(b"\x89PNG")


def test_the_machine_is_described_by_what_a_figure_depends_on() -> None:
    machine = describe_machine()

    assert {"cpu", "cores", "memory", "kernel", "python", "kafka", "onnxruntime", "aiokafka"} <= machine.keys()
    assert all(machine.values())


def test_each_part_has_a_name_of_its_own_and_says_how_to_read_it() -> None:
    parts = (engine, streaming, latency, scale, start, profile)

    assert [part.PART for part in parts] == ["engine", "streaming", "latency", "scale", "start", "profile"]
    assert all(part.FOOTNOTE.startswith(part.PART) for part in parts)


def test_a_quick_plan_does_a_fraction_and_never_nothing() -> None:
    plan = Plan(rounds=5, seed=1, size=0.05, million=False, folder=Path())

    assert (plan.count(10_000), plan.count(100, 64)) == (500, 64)


# What answers at once.


def test_what_answers_at_once_gets_every_comment_its_decision() -> None:
    outcomes = instant_screener().screen([Record(value) for value in comment_values(TEXTS[:50], "x")])

    assert all(isinstance(outcome, Decision) for outcome in outcomes)
    assert {outcome.model.name for outcome in outcomes if isinstance(outcome, Decision)} == {"instant"}


def test_it_has_an_answer_to_each() -> None:
    classifier = InstantClassifier()
    pieces = [piece for (piece,) in classifier.encode(["a", "b"])]

    assert len(classifier.score(pieces)) == len(detect_nothing(["a", "b"])) == 2


# Contestants.

CHILD: Final = """
from bench.contest import NotInstalledError, serve

def prepare():
    print("libraries print")
    {prepare}
    return lambda texts: print("on each call") or f"{{len(texts)}} texts"

serve(prepare)
"""


@contextlib.contextmanager
def contestant(folder: Path, prepare: str = "pass") -> Iterator[Contestant]:
    child = Contestant(("-c", CHILD.format(prepare=prepare)), folder / "log")
    try:
        yield child
    finally:
        child.close()


def test_a_contestant_does_the_work_as_often_as_it_is_asked_whatever_it_prints(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text('["a", "b"]', "utf-8")
    with contestant(tmp_path) as child:
        laps = [child.run(tmp_path / "texts.json") for _ in range(3)]

    assert [lap.note for lap in laps] == ["2 texts"] * 3
    assert all(lap.seconds > 0 for lap in laps)


def test_a_contestant_that_lacks_something_says_what(tmp_path: Path) -> None:
    with contestant(tmp_path, "raise NotInstalledError('torch')") as child:
        assert child.missing == "torch"


def test_a_contestant_that_dies_is_no_figure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="died"), contestant(tmp_path, "raise SystemExit(3)"):
        pass


# GPU.


def no_torch() -> Any:
    raise NotInstalledError("torch")


@pytest.mark.parametrize(
    ("import_torch", "line"),
    [
        (no_torch, "not installed: torch: nothing was measured"),
        (
            lambda: SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False)),
            "no GPU here: nothing was measured",
        ),
    ],
    ids=["no torch", "no GPU"],
)
def test_without_a_gpu_nothing_is_measured_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, import_torch: Any, line: str
) -> None:
    monkeypatch.setattr(gpu, "import_torch", import_torch)
    app = typer.Typer()
    app.command()(gpu.main)
    ended = CliRunner().invoke(app, [])

    assert (ended.exit_code, ended.stdout) == (2, f"{line}\n")


# Stacks.


RAW: Final = """\
main (bench/worker_process.py:30);run (asyncio/runners.py:1);_read (aiokafka/conn.py:5);feed (asyncio/streams.py:7) 3
main (bench/worker_process.py:30);run (asyncio/runners.py:1);admit (worker/agents.py:9) 2
main (bench/worker_process.py:30);run (asyncio/runners.py:1);admit (worker/agents.py:12) 4
main (bench/worker_process.py:30);run (asyncio/runners.py:1);select (selectors.py:4) 1
thread (threading.py:2);screen (worker/screening.py:1);observe (/x/lib/site-packages/prometheus_client/metrics.py:4) 5
not a stack
"""


def test_a_sample_belongs_to_the_innermost_layer() -> None:
    layers = by_layer(read_stacks(RAW))

    assert layers == {"aiokafka: wire": 3, "queue, windows, watermark": 6, "metrics": 5, LOOP: 1}
    assert layers.keys() <= {*LAYERS, LOOP}


def test_a_function_is_counted_over_all_of_its_lines() -> None:
    assert by_function(read_stacks(RAW))["admit (worker/agents.py)"] == 6


def test_a_function_of_a_layer_is_counted_with_what_it_calls() -> None:
    calls = by_call(read_stacks(RAW))

    assert (calls["_read (aiokafka/conn.py)"], calls["screen (worker/screening.py)"]) == (3, 5)
    assert "run (asyncio/runners.py)" not in calls


def test_a_thread_is_known_by_who_runs_it() -> None:
    raw = "work (concurrent/futures/thread.py:1);screen (worker/screening.py:1) 5\nmain (x.py:1) 2\n"

    assert by_thread(read_stacks(raw)) == {"screening": 5, "event loop": 2}


def test_every_file_that_a_layer_names_is_there() -> None:
    files = [prefix for prefixes in LAYERS.values() for prefix in prefixes if prefix.startswith("worker/")]

    assert [file for file in files if not (ROOT / file).exists()] == []
