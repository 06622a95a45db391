"""The proxy itself: it passes everything on, and does to connections what it is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import Proxy
from worker.demo.broker import LOOPBACK, free_port

SOON_S = 0.3


@pytest.fixture
async def echo_port() -> AsyncIterator[int]:
    """Of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1024):
            writer.write(chunk)
        writer.close()

    async with await asyncio.start_server(echo, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]


class Client:
    """Says something and hears what comes back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, said: bytes) -> bytes:
        self.writer.write(said)
        return await self.reader.readexactly(len(said))

    async def is_answered_soon(self) -> bool:
        try:
            async with asyncio.timeout(SOON_S):
                return await self.ask(b"?") == b"?"
        except TimeoutError:
            return False


async def connect(proxy: Proxy) -> Client:
    return Client(*await asyncio.open_connection(LOOPBACK, proxy.listen_port))


async def test_it_passes_everything_both_ways_and_counts(echo_port: int) -> None:
    large = bytes(range(256)) * 4096
    with Proxy(free_port(), echo_port) as proxy:
        client = await connect(proxy)
        client.writer.write(large)
        assert await client.reader.readexactly(len(large)) == large
        client.writer.close()

        assert proxy.connections == 1
        assert proxy.bytes_passed == 2 * len(large)


async def test_cut_ends_connections_and_refuses_new_ones_until_it_heals(echo_port: int) -> None:
    with Proxy(free_port(), echo_port) as proxy:
        client = await connect(proxy)
        assert await client.ask(b"before") == b"before"

        await asyncio.to_thread(proxy.cut)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.ask(b"cut")
        with pytest.raises(ConnectionRefusedError):
            await connect(proxy)

        await asyncio.to_thread(proxy.heal)
        again = await connect(proxy)
        assert await again.ask(b"after") == b"after"
        again.writer.close()
        client.writer.close()


async def test_stalled_it_accepts_and_passes_nothing_and_healed_it_passes_what_was_held(echo_port: int) -> None:
    with Proxy(free_port(), echo_port) as proxy:
        proxy.stall()
        client = await connect(proxy)
        assert not await client.is_answered_soon()

        await asyncio.to_thread(proxy.heal)
        assert await client.reader.readexactly(1) == b"?"
        client.writer.close()


async def test_a_slow_one_is_slow_each_way(echo_port: int) -> None:
    with Proxy(free_port(), echo_port) as proxy:
        client = await connect(proxy)
        proxy.delay_s = SOON_S
        assert not await client.is_answered_soon()
        assert await client.reader.readexactly(1) == b"?"

        await asyncio.to_thread(proxy.heal)
        proxy.bytes_per_s = 1 / SOON_S
        assert not await client.is_answered_soon()
        client.writer.close()


async def test_where_nobody_listens_behind_it_a_connection_ends() -> None:
    with Proxy(free_port(), free_port()) as proxy:
        client = await connect(proxy)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.ask(b"anybody?")
        client.writer.close()
