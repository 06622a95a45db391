"""Every way into a broker that asks who you are, with the rights that SECURITY.md names and no others."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.audit import Audit
from tests.certificates import Authority
from tests.comments import comments
from tests.secured_broker import LACKING, MUTUAL_PRINCIPAL, PASSWORD, USER, SecuredBroker, token
from tests.topics import Topics, fresh_topics
from tests.workers import WorkerProcess
from worker.access import Rights, check_access
from worker.app import check_topics
from worker.connection import client_options
from worker.demo.broker import free_port
from worker.errors import StartupError
from worker.ledger import transactional_id
from worker.settings import Settings
from worker.topics import describe_topics

pytestmark = pytest.mark.kafka_only  # the embedded one asks nobody

DOCUMENT: Final = (Path(__file__).parents[2] / "SECURITY.md").read_text("utf-8")
COMMANDS: Final = re.findall(r"^\$ (kafka-acls\.sh .+ User:screener .+)$", DOCUMENT, re.MULTILINE)
"""Those that give the worker its rights; people have others."""
WRONG: Final = "incorrect-horse-battery"

Settled = Callable[[SecuredBroker, Path], dict[str, Any]]
"""A worker's settings, for a broker and a folder of the test's."""


def written(folder: Path, content: str) -> Path:
    file = folder / "secret"
    file.write_text(f"{content}\n")
    return file


WAYS: Final[dict[str, Settled]] = {
    "tls": lambda broker, _: broker.tls(),
    "mutual-tls": lambda broker, _: broker.mutual_tls(),
    "plain": lambda broker, _: broker.sasl("PLAIN", sasl_username=USER, sasl_password=PASSWORD),
    "scram": lambda broker, folder: broker.sasl(
        "SCRAM-SHA-512", sasl_username=USER, sasl_password_file=written(folder, PASSWORD)
    ),
    "oauthbearer": lambda broker, folder: broker.sasl("OAUTHBEARER", sasl_oauth_token_file=written(folder, token())),
    "in transactions": lambda broker, _: broker.sasl(
        "PLAIN", sasl_username=USER, sasl_password=PASSWORD, delivery="transactions"
    ),
}


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredBroker]:
    broker = SecuredBroker(tmp_path_factory.mktemp("secured"))
    with broker.open:
        yield broker


@pytest.fixture(scope="module")
def topics_of(secured: SecuredBroker) -> dict[str, Topics]:
    """Topics for each way in; the worker's principals have the documented rights on them, and on nothing else."""

    async def create() -> dict[str, Topics]:
        return {way: await fresh_topics(secured.open) for way in WAYS}

    found = asyncio.run(create())
    assert len(COMMANDS) == 4
    for command in COMMANDS:
        secured.run(allowing(command, list(found.values())))
    return found


def allowing(command: str, topics: list[Topics]) -> str:
    """A documented command, for the topics and the principals of these tests."""
    for documented, names in {
        "--allow-principal User:screener": [f"User:{USER}", f"User:{MUTUAL_PRINCIPAL}"],
        "--topic comments": [of.comments for of in topics],
        "--topic moderation.decisions": [of.decisions for of in topics],
        "--topic moderation.dead-letters": [of.dead_letters for of in topics],
        "--group comment-screener": [of.comments for of in topics],
        # Who delivers without needs none; "in transactions" stands last.
        "--transactional-id comment-screener.": [f"{topics[-1].comments}."],
    }.items():
        option = documented.split()[0]
        command = re.sub(f"{documented}(?= |$)", " ".join(f"{option} {name}" for name in names), command)
    return command


@pytest.mark.parametrize("way", WAYS)
async def test_screens_with_the_documented_rights_alone(
    secured: SecuredBroker, topics_of: dict[str, Topics], tmp_path: Path, way: str
) -> None:
    topics, settings = topics_of[way], WAYS[way](secured, tmp_path)
    async with (
        Audit(secured.open, topics) as audit,
        WorkerProcess(settings["kafka_bootstrap_servers"], topics, tmp_path, log_level="debug", **settings) as worker,
    ):
        await audit.produce([*comments(30), (b"wrong", b"{")])
        await audit.until_complete()
        await audit.until_committed()
        assert await worker.terminate() == 0
        audit.check()
    assert (len(audit.decisions), len(audit.dead_letters)) == (30, 1)
    for secret in (PASSWORD, token()[:40]):
        assert secret not in worker.said()


async def refusal_of(settings: dict[str, Any], rights: Rights) -> str:
    with pytest.raises(StartupError) as refused:
        await check_access(client_options(Settings(**settings)), rights)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture(autouse=True)
async def _sockets_closed() -> AsyncIterator[None]:
    """A client that is refused hangs up a few turns of the loop later; its socket must not outlive the loop."""
    before = sockets()
    yield
    async with asyncio.timeout(30):
        while sockets() - before:  # noqa: ASYNC110  only the system tells
            await asyncio.sleep(0.01)


def sockets() -> set[str]:
    found = set()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(file.readlink()))
    return {name for name in found if name.startswith("socket:")}


NOTHING: Final = Rights("comments", ("moderation.decisions",), "comment-screener")


@pytest.mark.parametrize(
    ("settled", "says"),
    [
        (
            lambda broker, _: broker.sasl("PLAIN", sasl_username=USER, sasl_password=WRONG),
            "{SASL} refuses user or password: SCREENER_SASL_USERNAME, SCREENER_SASL_PASSWORD, SCREENER_SASL_MECHANISM",
        ),
        (
            lambda broker, _: broker.sasl("SCRAM-SHA-512", sasl_username=USER, sasl_password=WRONG),
            "{SASL} refuses user or password: SCREENER_SASL_USERNAME, SCREENER_SASL_PASSWORD, SCREENER_SASL_MECHANISM",
        ),
        (
            lambda broker, _: broker.sasl("SCRAM-SHA-256", sasl_username=USER, sasl_password=PASSWORD),
            "{SASL} does not take SCREENER_SASL_MECHANISM=SCRAM-SHA-256",
        ),
        (
            lambda broker, folder: broker.sasl(
                "OAUTHBEARER", sasl_oauth_token_file=written(folder, token(lifetime_s=-600))
            ),
            "{SASL} refuses the token: SCREENER_SASL_OAUTH_TOKEN_FILE",
        ),
        (
            lambda broker, _: broker.tls(
                "TLS", security_protocol="SASL_SSL", sasl_username=USER, sasl_password=PASSWORD
            ),
            "{TLS} asks for no user: SCREENER_SECURITY_PROTOCOL=SASL_SSL",
        ),
        (
            lambda broker, folder: (
                broker.tls() | {"ssl_ca_file": Authority(folder / "other", "somebody else").certificate}
            ),
            (
                "TLS: the certificate of {TLS} is not valid: unable to get local issuer certificate: "
                "SCREENER_SSL_CA_FILE, SCREENER_KAFKA_BOOTSTRAP_SERVERS"
            ),
        ),
        (
            lambda broker, _: broker.tls("ELSEWHERE"),
            (
                "TLS: the certificate of {ELSEWHERE} is not valid: IP address mismatch, certificate is not valid for "
                "'127.0.0.1': SCREENER_SSL_CA_FILE, SCREENER_KAFKA_BOOTSTRAP_SERVERS"
            ),
        ),
        (
            lambda broker, _: broker.tls("EXPIRED"),
            (
                "TLS: the certificate of {EXPIRED} is not valid: certificate has expired: "
                "SCREENER_SSL_CA_FILE, SCREENER_KAFKA_BOOTSTRAP_SERVERS"
            ),
        ),
    ],
    ids=[
        "plain, wrong password",
        "scram, wrong password",
        "mechanism that it does not take",
        "token that has expired",
        "user where none is asked for",
        "authority that is not trusted",
        "name of somebody else",
        "certificate that has expired",
    ],
)
async def test_is_refused_in_one_line(secured: SecuredBroker, tmp_path: Path, settled: Settled, says: str) -> None:
    where = {name: f"Kafka at {secured.address(name)}" for name in ("SASL", "TLS", "ELSEWHERE", "EXPIRED")}

    assert await refusal_of(settled(secured, tmp_path), NOTHING) == says.format(**where)


async def test_a_wrong_password_ends_the_worker_and_is_not_shown(secured: SecuredBroker, tmp_path: Path) -> None:
    settings = secured.sasl("PLAIN", sasl_username=USER, sasl_password=WRONG, log_level="debug")
    worker = WorkerProcess(secured.address("SASL"), Topics("a", "b", "c", 1), tmp_path, **settings)

    assert await worker.start().ended() == 2
    assert worker.said().splitlines()[-1].startswith("comment-screener: Kafka at 127.0.0.1:")
    assert "refuses user or password" in worker.said().splitlines()[-1]
    assert WRONG not in worker.said()


@pytest.mark.parametrize(
    "settled",
    [
        lambda broker, _: broker.tls("MUTUAL"),
        lambda broker, folder: broker.tls(
            "MUTUAL",
            **dict(
                zip(("ssl_cert_file", "ssl_key_file"), Authority(folder / "other", "other").issue("who"), strict=True)
            ),
        ),
        lambda broker, _: {"kafka_bootstrap_servers": broker.address("TLS")},
        lambda broker, _: broker.tls("BROKER"),
    ],
    ids=["no client certificate", "client certificate of others", "no TLS where it is asked for", "TLS where none is"],
)
async def test_a_broker_that_hangs_up_is_asked_again_and_then_given_up(
    secured: SecuredBroker, tmp_path: Path, settled: Settled
) -> None:
    settings = Settings(**settled(secured, tmp_path), startup_timeout_s=1)

    with pytest.raises(StartupError) as refused:
        await check_topics(settings, client_options(settings))
    assert str(refused.value).startswith(f"no answer from Kafka at {settings.kafka_bootstrap_servers} in 1 s: ")
    assert str(refused.value).endswith("hangs up; SCREENER_SECURITY_PROTOCOL or SCREENER_SSL_CERT_FILE?")


async def test_each_right_is_needed_and_named_at_start(secured: SecuredBroker) -> None:
    topics = await fresh_topics(secured.open)
    group, transactional = topics.comments, transactional_id(topics.comments, topics.comments, 0)
    rights = Rights(topics.comments, (topics.decisions, topics.dead_letters), group, transactional)
    needed = {
        "no-comments": ("Read", f"--topic {topics.comments}", f"READ on topic {topics.comments}"),
        "no-decisions": ("Write", f"--topic {topics.decisions}", f"WRITE on topic {topics.decisions}"),
        "no-dead-letters": ("Write", f"--topic {topics.dead_letters}", f"WRITE on topic {topics.dead_letters}"),
        "no-group": ("Read", f"--group {group}", f"READ on group {group}"),
        "no-transactions": (
            "Write",
            f"--transactional-id {transactional}",
            f"WRITE on transactional id {transactional}",
        ),
    }
    assert needed.keys() == set(LACKING)
    for name, (operation, resource, _) in needed.items():
        others = " ".join(f"--allow-principal User:{user}" for user in LACKING if user != name)
        # To see it is not to use it.
        seers = f"kafka-acls.sh --add --allow-principal User:{name} --operation Describe {resource}"
        for command in (f"kafka-acls.sh --add {others} --operation {operation} {resource}", seers):
            await asyncio.to_thread(secured.run, command)

    for user, (*_, missing) in needed.items():
        options = client_options(Settings(**secured.sasl("PLAIN", sasl_username=user, sasl_password=PASSWORD)))
        with pytest.raises(StartupError, match=f"^Kafka does not allow the worker: {re.escape(missing)}$"):
            await check_access(options, rights)


async def test_a_transactional_id_that_is_refused_later_ends_the_worker(secured: SecuredBroker, tmp_path: Path) -> None:
    """At start the worker asks about the first partition's alone."""
    topics = await fresh_topics(secured.open)
    for command in [
        *COMMANDS[:3],
        (
            f"kafka-acls.sh --add --allow-principal User:{USER} --operation Write "
            f"--transactional-id {transactional_id(topics.comments, topics.comments, 0)}"
        ),
    ]:
        await asyncio.to_thread(secured.run, allowing(command, [topics]))
    settings = WAYS["in transactions"](secured, tmp_path)
    worker = WorkerProcess(settings["kafka_bootstrap_servers"], topics, tmp_path, **settings)

    assert await worker.start().ended() == 1
    assert worker.said().splitlines()[-1] == (
        f"comment-screener: not allowed to commit as {topics.comments}: TransactionalIdAuthorizationFailed"
    )


async def test_all_that_is_missing_is_named_at_once(secured: SecuredBroker, tmp_path: Path) -> None:
    topics = await fresh_topics(secured.open)
    rights = Rights(topics.comments, (topics.decisions, topics.dead_letters), topics.comments)

    assert await refusal_of(WAYS["scram"](secured, tmp_path), rights) == (
        f"Kafka does not allow the worker: READ on topic {topics.comments}, WRITE on topic {topics.decisions}, "
        f"WRITE on topic {topics.dead_letters}, READ on group {topics.comments}"
    )


async def test_topics_that_are_not_there_are_told_from_topics_that_are_not_allowed(secured: SecuredBroker) -> None:
    await check_access(client_options(Settings(**secured.tls())), NOTHING)

    assert NOTHING.reads not in await describe_topics(bootstrap_servers=secured.open.bootstrap)


async def test_a_broker_that_is_down_hides_neither_a_good_one_nor_a_refusal(secured: SecuredBroker) -> None:
    down = f"127.0.0.1:{free_port()}"
    await check_access(
        client_options(Settings(**secured.tls() | {"kafka_bootstrap_servers": f"{down},{secured.address('TLS')}"})),
        NOTHING,
    )

    wrong = secured.sasl("PLAIN", sasl_username=USER, sasl_password=WRONG)
    servers = f"{down},{secured.address('SASL')}"
    assert "refuses user" in await refusal_of(wrong | {"kafka_bootstrap_servers": servers}, NOTHING)


async def test_a_token_is_read_anew_for_each_connection(secured: SecuredBroker, tmp_path: Path) -> None:
    file = written(tmp_path, token(lifetime_s=-600))
    options = client_options(Settings(**secured.sasl("OAUTHBEARER", sasl_oauth_token_file=file)))
    with pytest.raises(StartupError, match="refuses the token"):
        await check_access(options, NOTHING)

    written(tmp_path, token("nobody"))
    with pytest.raises(StartupError, match="does not allow the worker"):
        await check_access(options, NOTHING)
