"""The cluster itself: it keeps what it confirmed while a node is gone, and its proxies are the only way for who comes by them."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.audit import Audit
from tests.chaos.cluster import Cluster
from tests.comments import comments
from tests.topics import Topics


async def test_what_was_confirmed_is_there_while_any_one_node_is_gone(
    cluster: Cluster, topics: Topics, audit: Audit
) -> None:
    await audit.produce(comments(100))
    for index in range(len(cluster.brokers)):
        await asyncio.to_thread(cluster.brokers[index].kill)
        async with Audit(cluster, topics) as late:
            await late.until(lambda late=late: late.log == audit.inputs, "everything")  # type: ignore[misc]
        await asyncio.to_thread(cluster.restore)


async def test_who_comes_in_by_the_proxies_passes_through_them_alone(
    cluster: Cluster, topics: Topics, audit: Audit
) -> None:
    await audit.produce(comments(100))
    before = sum(proxy.bytes_passed for proxy in cluster.proxies)
    async with AIOKafkaConsumer(bootstrap_servers=cluster.proxied, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topics.comments, partition) for partition in range(topics.partitions)])
        async with asyncio.timeout(30):
            read = [await consumer.getone() for _ in range(100)]

    passed = sum(proxy.bytes_passed for proxy in cluster.proxies) - before
    assert passed > sum(len(record.value) for record in read)


async def test_leaders_move_away_from_a_node_that_goes_and_back_when_told(cluster: Cluster, topics: Topics) -> None:
    before = await cluster.leader_of(topics.comments, 0)

    await asyncio.to_thread(cluster.bounce, before)
    await cluster.until_whole()
    assert await cluster.leader_of(topics.comments, 0) != before

    await asyncio.to_thread(cluster.preferred_leaders)
    assert await cluster.leader_of(topics.comments, 0) == before
