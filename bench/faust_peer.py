"""A plain Faust agent, a peer: `python -m bench.faust_peer each|take`. Told by the worker's environment.

- each: `async for` over the stream, as Faust's documentation begins.
- take: `stream.take`, Faust's own batching.

The same line screens, with what answers at once; decisions go out by `topic.send`, with acks from all. As such agents are
written, nobody waits for a confirmation before the offset is committed: where the worker loses nothing, this may.
"""

import sys
import tempfile
from typing import Any, Final

import faust

from bench.instant import instant_screener
from worker import codec
from worker.records import Decision, Source
from worker.screening import Record
from worker.settings import load_settings

_BATCH: Final = 256
_WITHIN_S: Final = 0.05


def main() -> None:
    """Run until it is ended."""
    kind = sys.argv[1]
    settings = load_settings()
    with tempfile.TemporaryDirectory() as datadir:
        app = faust.App(
            settings.group_id,
            broker=f"kafka://{settings.kafka_bootstrap_servers}",
            consumer_auto_offset_reset="earliest",
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            datadir=f"{datadir}/faust",
            autodiscover=False,
        )
        raw: dict[str, Any] = {"key_type": bytes, "value_type": bytes, "value_serializer": "raw"}
        comments, decisions = app.topic(settings.comments_topic, **raw), app.topic(settings.decisions_topic, **raw)
        screen = instant_screener().screen

        async def publish(events: Any) -> None:
            records = [
                Record(event.value, Source(event.message.topic, event.message.partition, event.message.offset))
                for event in events
            ]
            for outcome in screen(records):
                assert isinstance(outcome, Decision), outcome  # noqa: S101  no text of the benchmark's is rejected
                await decisions.send(key=outcome.comment_id.encode(), value=codec.encode(outcome))

        async def each(stream: Any) -> None:
            async for event in stream.events():
                await publish([event])

        async def take(stream: Any) -> None:
            async for events in stream.take_events(_BATCH, within=_WITHIN_S):
                await publish(events)

        app.agent(comments, name="screen")(each if kind == "each" else take)
        faust.Worker(app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    main()
