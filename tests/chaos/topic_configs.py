"""Settings of a topic that is there already."""

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from tests.topics import Kafka


async def configure(kafka: Kafka, topic: str, **config: str) -> None:
    """Give a topic exactly these settings, dots written as underscores; all others go back to the brokers' defaults."""
    named = {name.replace("_", "."): value for name, value in config.items()}
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        await admin.start()
        answers = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])
    finally:
        await admin.close()
    refusals = [resource for answer in answers for resource in answer.resources if resource[0]]
    assert refusals == []
