"""A small TCP proxy on loopback: what a bad network does, on purpose and on demand.

It runs in a thread with an event loop of its own, so that a test that blocks does not stop the traffic.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, Self

from worker.demo.broker import LOOPBACK

_CHUNK_BYTES: Final = 16 * 1024
_CHUNKS_ON_THE_WAY: Final = 64
_PATIENCE_S: Final = 10.0


class Proxy:
    """Passes connections on, as well or as badly as it is told.

    Args:
        listen_port: where clients connect.
        target_port: where they would have connected without it.

    Attributes:
        delay_s: what each way takes longer, from now on.
        bytes_per_s: what each way of each connection carries at most, from now on; None: anything.
        connections: accepted since the start.
        bytes_passed: both ways together, since the start.
    """

    def __init__(self, listen_port: int, target_port: int) -> None:
        self.listen_port = listen_port
        self.target_port = target_port
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.connections = 0
        self.bytes_passed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{listen_port}", daemon=True)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[Any]] = set()

    def start(self) -> Self:
        """Listen. Raises OSError."""
        self._thread.start()
        self._run(self._listen())
        return self

    def stop(self) -> None:
        """Drop everything and end, for good."""
        self._run(self._drop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)
        self._loop.close()

    def cut(self) -> None:
        """Drop all connections and refuse new ones."""
        self._run(self._drop())

    def stall(self) -> None:
        """A black hole: go on accepting, keep what is open, and pass nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def heal(self) -> None:
        """Pass everything, at once."""
        self.delay_s, self.bytes_per_s = 0.0, None
        self._loop.call_soon_threadsafe(self._flowing.set)
        self._run(self._listen())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_S)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self.listen_port)

    async def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # In a task of ours: asyncio makes a noise about its own when they are cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writers = [writer]
        try:
            target_reader, target_writer = await asyncio.open_connection(LOOPBACK, self.target_port)
            writers.append(target_writer)
            ways = [
                asyncio.create_task(self._pass(reader, target_writer)),
                asyncio.create_task(self._pass(target_reader, writer)),
            ]
            try:
                # Nobody here closes one half of a connection: the end of one way is the end of both.
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # Nobody listens at the target: the client sees its connection end.
        finally:
            for each in writers:
                each.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way of one connection, until it ends."""
        on_the_way = asyncio.Queue[tuple[float, bytes]](_CHUNKS_ON_THE_WAY)

        async def arrive() -> None:
            while True:
                due, chunk = await on_the_way.get()
                await asyncio.sleep(due - self._loop.time())
                if self.bytes_per_s is not None:
                    await asyncio.sleep(len(chunk) / self.bytes_per_s)
                await self._flowing.wait()
                if not chunk:
                    return
                # Before it is on its way: whoever has a byte finds it counted.
                self.bytes_passed += len(chunk)
                writer.write(chunk)
                await writer.drain()

        arriving = asyncio.create_task(arrive())
        try:
            chunk = b"-"
            while chunk and not arriving.done():
                chunk = await reader.read(_CHUNK_BYTES)
                await on_the_way.put((self._loop.time() + self.delay_s, chunk))
            await arriving
        finally:
            arriving.cancel()
            await asyncio.gather(arriving, return_exceptions=True)
