"""Faust's consumer of the comments topic, where what it decides by itself would be wrong for us.

It reads what transactions have committed and nothing else, and commits what was acked last: acks come in the order of the
offsets (`worker.watermark`), so there is no gap to look for. Faust's own search takes a hole behind offset 0 for unfinished work
and never commits again, and passes over a single unfinished record elsewhere.
"""

from typing import Any, Final

from faust.transport.drivers import aiokafka as driver

_ISOLATION: Final = "read_committed"


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # Faust is untyped
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Faust asks for it under its exactly-once only. Nobody has said what was called off.
        consumer._isolation_level = _ISOLATION  # noqa: SLF001  it is read when the consumer starts
        return consumer


class Consumer(driver.Consumer):  # type: ignore[misc]
    """Where acks come in order."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: Any) -> int | None:
        """What to commit: the offset behind the last one acked since the last commit, or None."""
        acked = self._acked[tp]
        if not acked:
            return None
        offset: int = acked[-1] + 1
        acked.clear()
        self._acked_index[tp].clear()
        return offset

    async def _commit(self, offsets: Any) -> bool:
        committed: bool = await super()._commit(offsets)
        if committed:
            self.app.on_committed()
        return committed

    async def _add_gap(self, tp: Any, offset_from: int, offset_to: int) -> None:
        """Holes need no account, and a compacted topic is full of them."""


class Transport(driver.Transport):  # type: ignore[misc]
    """Faust's way to Kafka, with this consumer."""

    Consumer = Consumer
