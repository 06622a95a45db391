"""What tests wait with: until something is so, or the process that was to make it so is gone."""

from pathlib import Path

import pytest

from tests.workers import until
from worker.demo.process import Process


async def test_it_waits_until_it_is_so(tmp_path: Path) -> None:
    process = Process(["sleep", "60"], tmp_path / "log")
    process.start()
    asked = []

    def is_there_for_the_third_time() -> bool:
        asked.append(process.running)
        return len(asked) == 3

    try:
        await until(process, is_there_for_the_third_time, every_s=0.0)
    finally:
        process.kill()
    assert len(asked) == 3


async def test_but_not_for_a_process_that_has_ended_and_says_how(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo no such luck; exit 3"], tmp_path / "log")
    process.start()

    with pytest.raises(AssertionError, match="no such luck"):
        await until(process, lambda: False, every_s=0.0)
