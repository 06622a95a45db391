"""What stands at the other end and is no Kafka at all; the rest is asked of a real one in tests/integration."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka.errors import KafkaConnectionError

from worker.access import Rights, check_access
from worker.connection import client_options
from worker.demo.broker import free_port
from worker.errors import StartupError
from worker.settings import Settings

RIGHTS = Rights("comments", ("decisions",), "group")


@contextlib.asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """Somebody who answers the first bytes and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        answer(writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield "{}:{}".format(*listening.sockets[0].getsockname())


async def failure(address: str, protocol: str) -> Exception:
    options = client_options(
        Settings.model_validate({"kafka_bootstrap_servers": address, "security_protocol": protocol})
    )
    with pytest.raises((StartupError, KafkaConnectionError, OSError)) as failed:
        await check_access(options, RIGHTS)
    await asyncio.sleep(0)  # the socket is closed in the loop's next turn
    error: Exception = failed.value
    return error


async def test_a_web_server_is_no_broker() -> None:
    async with server(lambda writer: writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        refused = await failure(address, "SSL")

    assert isinstance(refused, StartupError)
    assert str(refused).startswith(f"TLS: Kafka at {address}: ")
    assert str(refused).endswith(
        ": SCREENER_SECURITY_PROTOCOL, SCREENER_SSL_CA_FILE, SCREENER_SSL_CERT_FILE, SCREENER_SSL_KEY_FILE"
    )


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL"])
async def test_who_hangs_up_may_be_just_starting(protocol: str) -> None:
    async with server(lambda _: None) as address:
        failed = await failure(address, protocol)

    assert not isinstance(failed, StartupError)


async def test_nobody_may_come_later() -> None:
    failed = await failure(f"127.0.0.1:{free_port()}", "PLAINTEXT")

    assert isinstance(failed, OSError)
    assert not isinstance(failed, ssl.SSLError)
