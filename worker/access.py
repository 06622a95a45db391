"""Whether Kafka lets the worker in, and whether it may do there what it has to: asked at start, before anything is read.

aiokafka's clients only log why they could not connect, and try again; some rights are missed days later, with the first dead
letter. Here every reason is one line at once. What is asked changes nothing: reads and writes name a partition that cannot be,
a transaction that nobody began is ended, and Kafka looks at rights first.
"""

import asyncio
import ssl
from typing import Any, Final

from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import EndTxnRequest
from msgspec import Struct

from worker.connection import OAUTH, TLS_FILES
from worker.errors import StartupError

_TIMEOUT_MS: Final = 10_000
_NO_PARTITION: Final = 2**31 - 1
_NO_GENERATION: Final = -1
_NO_PRODUCER: Final = -1
_ALL_REPLICAS: Final = -1


class Rights(Struct, frozen=True):
    """What the worker has to be allowed, and all that it needs: reading implies seeing, and nothing is created."""

    reads: str
    """The topic that comments come from."""
    writes: tuple[str, ...]
    """The topics that outcomes go to."""
    group: str
    """The consumer group, to be read as well."""
    transactional_id: str | None = None
    """One of those that the worker writes under; the others differ in the partition at the end. None: under none."""


async def check_access(options: dict[str, Any], rights: Rights) -> None:
    """Ask the first broker that lets us in.

    Args:
        options: connection (`worker.connection.client_options`).
        rights: what has to be allowed.

    Raises:
        StartupError: certificates or credentials are refused, on one side or the other, or rights are missing, all of them
            named. Waiting changes nothing.
        KafkaError, OSError: no answer; there may be one later.
    """
    failures: list[Exception] = []
    for host, port, _ in collect_hosts(options["bootstrap_servers"]):
        try:
            missing = await _ask(host, port, options, rights)
        except (KafkaError, OSError) as error:
            failures.append(_explain(error, f"Kafka at {host}:{port}", options))
            continue
        if missing:
            raise StartupError(f"Kafka does not allow the worker: {', '.join(missing)}")
        return
    # One broker that is down does not hide that another will never let us in.
    raise next((failure for failure in failures if isinstance(failure, StartupError)), failures[0])


async def _ask(host: str, port: int, options: dict[str, Any], rights: Rights) -> list[str]:
    given = {name: value for name, value in options.items() if name != "bootstrap_servers"}
    connection = await create_conn(host, port, request_timeout_ms=_TIMEOUT_MS, **given)
    try:
        answer = await connection.send(MetadataRequest([]))
        if answer.cluster_id is None and given.get("sasl_mechanism") == OAUTH:
            # Kafka refuses a token in a message that aiokafka takes for none, and this is how it reads the next.
            raise SaslAuthenticationFailed
        return await _missing(connection, rights)
    finally:
        await asyncio.wait({connection.close()})


async def _missing(connection: AIOKafkaConnection, rights: Rights) -> list[str]:
    missing = []
    fetch = FetchRequest(0, 0, 1, 0, [(rights.reads, [(_NO_PARTITION, 0, 1)])])
    if _is_forbidden(await connection.send(fetch)):
        missing.append(f"READ on topic {rights.reads}")
    for topic in rights.writes:
        produce = ProduceRequest(None, _ALL_REPLICAS, _TIMEOUT_MS, [(topic, [(_NO_PARTITION, b"")])])
        if _is_forbidden(await connection.send(produce)):
            missing.append(f"WRITE on topic {topic}")
    heartbeat = await connection.send(HeartbeatRequest(rights.group, _NO_GENERATION, ""))
    if heartbeat.error_code == GroupAuthorizationFailedError.errno:
        missing.append(f"READ on group {rights.group}")
    if rights.transactional_id is not None:
        end = await connection.send(EndTxnRequest(rights.transactional_id, _NO_PRODUCER, _NO_PRODUCER, False))
        if end.error_code == TransactionalIdAuthorizationFailed.errno:
            missing.append(f"WRITE on transactional id {rights.transactional_id}")
    return missing


def _is_forbidden(answer: Any) -> bool:
    return any(
        error_code == TopicAuthorizationFailedError.errno
        for _, partitions in answer.topics
        for _, error_code, *_ in partitions
    )


def _explain(error: Exception, where: str, options: dict[str, Any]) -> Exception:
    """A StartupError where nothing but a change of settings helps; else what may pass."""
    refusal = None
    match error:
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            pass  # it went away in the middle, which it may do at any time
        case ssl.SSLCertVerificationError():
            refusal = (
                f"TLS: the certificate of {where} is not valid: {error.verify_message.rstrip('.')}: "
                "SCREENER_SSL_CA_FILE, SCREENER_KAFKA_BOOTSTRAP_SERVERS"
            )
        case ssl.SSLError():
            refusal = f"TLS: {where}: {error.reason}: SCREENER_SECURITY_PROTOCOL, {TLS_FILES}"
        case SaslAuthenticationFailed() if options["sasl_mechanism"] == OAUTH:
            refusal = f"{where} refuses the token: SCREENER_SASL_OAUTH_TOKEN_FILE"
        case SaslAuthenticationFailed():
            refusal = (
                f"{where} refuses user or password: "
                "SCREENER_SASL_USERNAME, SCREENER_SASL_PASSWORD, SCREENER_SASL_MECHANISM"
            )
        case UnsupportedSaslMechanismError():
            refusal = f"{where} does not take SCREENER_SASL_MECHANISM={options['sasl_mechanism']}"
        case IllegalSaslStateError():
            refusal = f"{where} asks for no user: SCREENER_SECURITY_PROTOCOL={options['security_protocol']}"
        case KafkaConnectionError() | ConnectionResetError():
            # Kafka has no words for a client that speaks another protocol, or shows no certificate.
            error = KafkaConnectionError(f"{where} hangs up; SCREENER_SECURITY_PROTOCOL or SCREENER_SSL_CERT_FILE?")
    return error if refusal is None else StartupError(refusal)
