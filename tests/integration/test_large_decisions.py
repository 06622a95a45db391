"""Decisions that are larger than their topic takes: those, and only those, become dead letters."""

import random
import string
from pathlib import Path
from typing import Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.audit import Audit
from tests.comments import comments
from tests.fakes import comment_value
from tests.topics import Topics
from tests.workers import SLOWLY, WorkerProcess
from worker.demo.broker import Broker

pytestmark = pytest.mark.kafka_only  # the embedded one takes everything

LIMIT: Final = 1200


@pytest.fixture
async def narrow(broker: Broker, topics: Topics) -> Topics:
    """Topics of which the one for decisions takes no more than a decision of the usual size."""
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        limit = {"max.message.bytes": str(LIMIT)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topics.decisions, limit)])
    finally:
        await admin.close()
    return topics


def too_large() -> dict[str, str]:
    """Fields of a comment whose decision is too large, compressed as well."""
    chance = random.Random(3)
    names = ("author_id", "content_id", "content_owner_id")
    return {name: "".join(chance.choices(string.ascii_letters + string.digits, k=475)) for name in names}


@pytest.mark.parametrize("delivery", ["at_least_once", "transactions"])
async def test_a_decision_too_large_for_its_topic_becomes_one_dead_letter(
    broker: Broker, narrow: Topics, tmp_path: Path, delivery: str
) -> None:
    settings = SLOWLY | {"delivery": delivery}
    async with Audit(broker, narrow) as audit, WorkerProcess(broker, narrow, tmp_path, **settings) as worker:
        audit.may_refuse = True
        for number, fields in enumerate(({}, too_large(), {})):
            await audit.produce([(b"key", comment_value(comment_id=f"c{number}", **fields))])
            await audit.until_complete()
        await audit.until_committed()
        assert await worker.terminate() == 0
        audit.check()
        assert [decision["comment_id"] for decision in audit.decisions] == ["c0", "c2"]
        assert [dict(letter.headers)["screener-reason"] for letter in audit.dead_letters] == [b"decision_refused"]
        assert audit.repeats == 0


async def test_the_batch_that_it_would_go_with_is_written_without_it(
    broker: Broker, narrow: Topics, tmp_path: Path
) -> None:
    """A broker judges a batch as a whole: together, decisions that it takes one by one are too large as well."""
    async with Audit(broker, narrow) as audit:
        audit.may_refuse = True
        small, large = comments(240), (b"key", comment_value(comment_id="large", **too_large()))
        await audit.produce([*small[:120], large, *small[120:]])
        async with WorkerProcess(broker, narrow, tmp_path) as worker:
            await audit.until_complete()
            await audit.until_committed()
            assert await worker.terminate() == 0
        audit.check()
        assert [dict(letter.headers)["screener-reason"] for letter in audit.dead_letters] == [b"decision_refused"]
        assert len(audit.decisions) == 240
