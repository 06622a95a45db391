"""Scenario 16, the short one: minutes of trouble, and memory is flat. `python -m tests.chaos.soak` is the long one."""

from pathlib import Path
from typing import Final

from tests.chaos.cluster import Cluster
from tests.chaos.long_run import Soak
from tests.chaos.soak_picture import draw
from tests.topics import Topics

_DURATION_S: Final = 160.0
_PAUSE_S: Final = 8.0


async def test_minutes_of_trouble_and_memory_is_flat(
    cluster: Cluster, topics: Topics, seed: int, tmp_path: Path
) -> None:
    soak = Soak(cluster, topics, tmp_path, seed=seed, duration_s=_DURATION_S, mean_pause_s=_PAUSE_S)
    await soak.run()
    report = soak.report
    print(f"{report.records} records, {report.repeats} repeats, memory {report.growth_mib:+.0f} MiB")  # noqa: T201
    assert report.problems == []
    assert report.records > 0
    (tmp_path / "soak.png").write_bytes(draw(report))
