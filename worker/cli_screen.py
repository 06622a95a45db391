"""`comment-screener screen`: the worker's screening on files, pipes and single texts. No Kafka."""

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from worker import codec, dead_letters
from worker.cli_scoring import open_screener
from worker.errors import StartupError
from worker.policy import departure
from worker.records import AgeBand, DeadLetter, Decision, Source
from worker.rows import Format, csv_rows, json_lines, refuse_twice
from worker.screening import Outcome, Record, Rejection, Screener
from worker.terminal import progress

_WINDOW = 1024
_STANDARD = "-"


def screen(
    text: Annotated[str | None, typer.Argument(help="One comment's text.", show_default=False)] = None,
    *,
    input_: Annotated[
        str | None, typer.Option("--input", "-i", help="JSON Lines or CSV file of comments; - is standard input.")
    ] = None,
    output: Annotated[str, typer.Option("--output", "-o", help="JSON Lines file; - is standard output.")] = _STANDARD,
    format_: Annotated[Format, typer.Option("--format", help="auto: by the name, else JSON Lines.")] = Format.AUTO,
    fill: Annotated[
        bool, typer.Option("--fill", help="Give JSON lines without comment_id or created_at the line's number and now.")
    ] = False,
    audience: Annotated[
        AgeBand | None, typer.Option(help="Who reads the text given as argument. A line of a file says so itself.")
    ] = None,
    community: Annotated[
        str | None, typer.Option(help="The community of the text given as argument, likewise.")
    ] = None,
    model: Annotated[
        str, typer.Option(envvar="SCREENER_MODEL", help="A shipped model, a folder or a hub's.")
    ] = "default",
    policy: Annotated[str, typer.Option(envvar="SCREENER_POLICY", help="A shipped policy, or a file.")] = "default",
    label_map: Annotated[
        Path | None, typer.Option(envvar="SCREENER_LABEL_MAP", help="JSON: their labels to ours.")
    ] = None,
    threads: Annotated[int, typer.Option(envvar="SCREENER_INFERENCE_THREADS", help="0: one per CPU.", min=0)] = 0,
) -> None:
    """Screen comments without Kafka: one decision a line, in input order; a bad line becomes a dead-letter line."""
    if (text is None) == (input_ is None):
        raise typer.BadParameter("give either a text or --input")
    if input_ is not None and (audience is not None or community is not None):
        # Verdicts for another audience than was asked for, without a word.
        raise typer.BadParameter(
            "--audience and --community are for a text; a line has audience_age_band and community_id"
        )
    if text is not None and fill:
        raise typer.BadParameter("--fill is for the lines of --input")
    screener = open_screener(model, policy, threads=threads, label_map=label_map)
    if text is not None:
        _screen_text(screener, text, audience or AgeBand.UNKNOWN, community, output)
        return
    assert input_ is not None  # noqa: S101  settled above; for the type checker
    files = _STANDARD not in (input_, output) and Path(input_).exists() and Path(output).exists()
    if files and Path(output).samefile(input_):
        raise StartupError(f"{output}: the output would overwrite the input")
    with ExitStack() as stack:
        try:
            source = sys.stdin.buffer if input_ == _STANDARD else stack.enter_context(Path(input_).open("rb"))
            sink = sys.stdout.buffer if output == _STANDARD else stack.enter_context(Path(output).open("wb"))
        except OSError as error:
            raise StartupError(f"{error.filename}: {error.strerror}") from error
        values = _csv_values(source) if format_.is_csv(input_) else _json_values(source, fill=fill)
        _screen_values(screener, values, Path(input_).name, sink)


def _screen_text(screener: Screener, text: str, audience: AgeBand, community: str | None, output: str) -> None:
    fields = {"text": text, "audience_age_band": audience, "community_id": community}
    record = Record(codec.typed({name: value for name, value in fields.items() if value is not None}, 1))
    outcome = screener.screen([record])[0]
    if isinstance(outcome, Rejection):
        raise StartupError(f"{outcome.reason}: {outcome.message}")
    if output != _STANDARD:
        try:
            Path(output).write_bytes(codec.encode(outcome) + b"\n")
        except OSError as error:
            raise StartupError(f"{error.filename}: {error.strerror}") from error
    elif sys.stdout.isatty():
        _show(outcome, text)
    else:
        sys.stdout.buffer.write(codec.encode(outcome) + b"\n")


def _show(decision: Decision, text: str) -> None:
    """A decision for the person who typed the text."""
    console = Console()
    because = f" for {decision.category}" if decision.category else ""
    console.print(f"[bold]{decision.action}[/bold]{because}, severity {decision.severity or 0:.2f}")
    for reason in decision.reasons:
        fired = "" if reason.score is None else f" {reason.score:.4f} ≥ {reason.threshold:g}"
        other = departure(reason)
        console.print(
            f"  {reason.label}{fired} → {reason.action} for {reason.age_band} readers ({reason.rule}{other and f', {other}'})",
            highlight=False,
            markup=False,
        )
    for span in decision.spans:
        where = Text(text[span.start : span.end], style="underline")
        console.print(
            Text("  "), where, Text(f" {span.label} {span.score:.2f}, characters {span.start}-{span.end}"), sep=""
        )
    if decision.language_supported is False:
        console.print(f"  language {decision.language}: the scores mean little", highlight=False, markup=False)
    table = Table("label", "score", box=None)
    for label, score in sorted(decision.scores.items(), key=lambda item: -item[1]):
        table.add_row(label, f"{score:.4f}")
    console.print(table)


def _screen_values(screener: Screener, values: Iterator[bytes], name: str, sink: BinaryIO) -> None:
    started = time.monotonic()
    counts: Counter[str] = Counter()
    errors = Console(stderr=True)
    with progress(errors, TextColumn("{task.fields[rate]}"), TimeElapsedColumn()) as bar:
        task = bar.add_task("screening", total=None, rate="")
        numbered = enumerate(values)
        while window := list(itertools.islice(numbered, _WINDOW)):
            records = [Record(value, Source(name, 0, line)) for line, value in window]
            for record, outcome in zip(records, screener.screen(records), strict=True):
                sink.write(codec.encode(_line(screener, record, outcome)) + b"\n")
                counts[outcome.action if isinstance(outcome, Decision) else "dead letter"] += 1
            sink.flush()
            done = counts.total()
            bar.update(task, completed=done, rate=f"{done / (time.monotonic() - started):.0f}/s")
    dead = counts.pop("dead letter", 0)
    parts = ", ".join(f"{count} {action}" for action, count in counts.most_common())
    seconds = time.monotonic() - started
    errors.print(
        f"{counts.total() + dead} lines = {counts.total()} decisions ({parts or 'none'}) + {dead} dead letters, "
        f"{seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )


def _line(screener: Screener, record: Record, outcome: Outcome) -> Decision | DeadLetter:
    if isinstance(outcome, Decision):
        return outcome
    return DeadLetter(
        stage=outcome.stage,
        reason=outcome.reason,
        error_class=outcome.error_class,
        error_message=outcome.message,
        attempts=1,
        worker="screen",
        worker_version=dead_letters.WORKER_VERSION,
        model=screener.model,
        policy=screener.policy,
        source=record.source,
        timestamp_ms=None,
        key=None,
        value=record.value,
        headers=[],
    )


def _json_values(stream: BinaryIO, *, fill: bool) -> Iterator[bytes]:
    for number, value in json_lines(stream):
        yield _filled(value, number) if fill else value


def _filled(value: bytes, number: int) -> bytes:
    try:
        fields = json.loads(codec.mended(value))
        if not isinstance(fields, dict):
            return value
        return codec.typed({name: of for name, of in fields.items() if of is not None or name == "text"}, number)
    except (ValueError, RecursionError):
        # Not JSON, half a surrogate pair in an id, nested too deeply: decoding names it.
        return value


def _csv_values(stream: BinaryIO) -> Iterator[bytes]:
    """A row is a comment with the header's names as its fields; `text` is the one that must be there."""
    with closing(csv_rows(stream, {"text"})) as rows:
        _, header = next(rows)
        refuse_twice(header, header)
        for number, (_, cells) in enumerate(rows, start=1):
            # A cell that a short row lacks is null; an empty one of an optional field says nothing.
            named = itertools.zip_longest(header, cells[: len(header)])
            fields: dict[str, Any] = {name: cell for name, cell in named if cell or name == "text"}
            if len(cells) > len(header):
                # A comma that nobody quoted: half a text must not be taken for all of it. A list of them is a dead letter.
                fields["text"] = cells
            yield codec.typed(fields, number)
