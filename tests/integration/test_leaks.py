"""What the worker lets out: no text in anything that it writes, no id in what it says, and nothing to connect to but three paths.

Those are on loopback.
"""

import asyncio
import json
import random
import socket
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.audit import Audit
from tests.comments import Input
from tests.topics import Topics
from tests.workers import WorkerProcess
from worker.demo.broker import Broker
from worker.errors import Reason
from worker.records import Comment

GOSSIP: Final = Path(__file__).with_name("gossiping_worker.py")
RARE: Final = (
    *("velvet", "octopus", "marmalade", "lighthouse", "juggles", "copper"),
    *("umbrellas", "beneath", "whispering", "turnips", "gently"),
)
IDS: Final = tuple(name for name in Comment.__struct_fields__ if name.endswith("_id"))


class Canaries:
    """Sentences and ids that stand nowhere else, and whoever looks for them."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        self._triples: set[bytes] = set()
        self._ids: set[bytes] = set()

    def sentence(self, more: str = "") -> str:
        """A new one, and perhaps a word that means something to somebody."""
        words = [*self._chance.sample(RARE, 8), *more.split()]
        self._triples |= {" ".join(words[at : at + 3]).encode() for at in range(len(words) - 2)}
        return " ".join(words)

    def heard_in(self, written: bytes) -> set[bytes]:
        """Three words in a row of any of them."""
        return {triple for triple in self._triples if triple in written.lower()}

    def new_id(self) -> str:
        """Of a comment, a person, whatever has one."""
        new = f"{self._chance.getrandbits(64):016x}"
        self._ids.add(new.encode())
        return new

    def ids_in(self, written: bytes) -> set[bytes]:
        """Those of them that stand there."""
        return {one for one in self._ids if one in written.lower()}

    def fields(self, **fields: Any) -> dict[str, Any]:
        """A good comment with an id wherever there may be one, but for these."""
        ids = {name: self.new_id() for name in IDS}
        return {"text": "hello", "created_at": "2026-01-02T03:04:05Z"} | ids | fields

    def comment(self, **fields: Any) -> bytes:
        return json.dumps(self.fields(**fields)).encode()


def of_every_kind(canaries: Canaries) -> list[tuple[Reason | None, bytes]]:
    """Records with a sentence in every place that a producer may put one; the reason of those that become dead letters."""
    say, comment = canaries.sentence, canaries.comment
    without_text = {name: value for name, value in canaries.fields().items() if name != "text"}
    return [
        *((None, comment(text=say())) for _ in range(20)),
        (None, comment(note=say(), nested={say(): [say()]})),
        (Reason.INVALID_JSON, comment(text=say())[:-2]),
        (Reason.INVALID_JSON, say().encode()),
        (Reason.INVALID_UTF8, comment(text=f"{say()} ?").replace(b"?", b"\xff")),
        (Reason.NOT_AN_OBJECT, json.dumps([say()]).encode()),
        (Reason.MISSING_FIELD, json.dumps(without_text | {say(): say()}).encode()),
        (Reason.INVALID_ID, comment(comment_id=" ".join(say() for _ in range(20)))),
        (Reason.INVALID_TEXT, comment(text=" ".join(say() for _ in range(300)))),
        (Reason.INVALID_TIMESTAMP, comment(created_at=say())),
        (Reason.INVALID_FIELD, comment(audience_age_band=say())),
        (Reason.UNCLASSIFIABLE, comment(text=say("unclassifiable"))),
    ]


@pytest.mark.parametrize(("end", "code"), [("crash", 1), ("hang", 70)])
async def test_no_three_words_of_any_text_stand_in_what_it_writes_and_no_id_in_what_it_says(
    broker: Broker, topics: Topics, tmp_path: Path, end: str, code: int
) -> None:
    canaries = Canaries()
    records = of_every_kind(canaries)
    inputs: list[Input] = [(canaries.new_id().encode(), value) for _, value in records]
    worker = WorkerProcess(
        broker, topics, tmp_path, program=(str(GOSSIP), end), log_level="debug", watchdog_timeout_s=8
    )
    async with Audit(broker, topics) as audit, worker:
        await audit.produce(inputs)
        await audit.until_complete()
        metrics = await asyncio.to_thread(worker.metrics)
        await audit.produce([(canaries.new_id().encode(), canaries.comment(text=canaries.sentence("finale")))])
        assert await worker.ended() == code
        written = [record for of_input in audit.outcomes.values() for record in of_input]

    said = worker.said()
    letters = [record for record in written if record.topic == topics.dead_letters]
    # Everything that was to go wrong did, or there would be nothing to be silent about.
    assert sorted(dict(letter.headers)["screener-reason"].decode() for letter in letters) == sorted(
        reason for reason, _ in records if reason is not None
    )
    assert "publish failed, trying again" in said
    assert {"crash": "RuntimeError", "hang": "watchdog: records are waiting"}[end] in said
    assert canaries.heard_in(b"".join(letter.value for letter in letters))
    # Nor would there be if the ids had not gone through its hands.
    handed_on = canaries.ids_in(b"".join(record.value for record in written))
    assert canaries.ids_in(b"".join(value for _, value in records)) <= handed_on

    for telling in (said.encode(), metrics.encode()):
        assert canaries.heard_in(telling) == set()
        assert canaries.ids_in(telling) == set()
    for record in written:
        headers = b"".join(name.encode() + (value or b"") for name, value in record.headers)
        value = record.value if record.topic == topics.decisions else b""
        assert canaries.heard_in(record.key + headers + value) == set()


def listening(pid: int) -> set[tuple[str, int]]:
    """Where a process accepts connections: address as the system writes it, and port."""
    of_process = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        try:
            of_process.add(str(file.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = fields = line.split()
            if state == "0A" and f"socket:[{fields[9]}]" in of_process:
                address, port = local.split(":")
                found.add((address, int(port, 16)))
    return found


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def statuses(port: int, paths: Iterable[str]) -> dict[str, int]:
    return {path: status(port, path) for path in paths}


async def test_it_listens_on_one_port_on_loopback_and_answers_three_paths(
    broker: Broker, topics: Topics, tmp_path: Path
) -> None:
    async with WorkerProcess(broker, topics, tmp_path) as worker:
        pid = worker.process.pid
        assert pid is not None
        ((address, port),) = listening(pid)
        assert address == "0100007F"  # 127.0.0.1, in the order of bytes in memory
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(socket.create_connection, ("127.0.0.2", port), 10)

        served, others = ("/metrics", "/livez", "/readyz"), ("/", "/table", "/table/", "/router/", "/stats/", "/graph")
        more = ("/debug/pprof", "/metrics/", "/livez/..", "/%2e%2e/etc/passwd", "/static/", "/favicon.ico")
        assert await asyncio.to_thread(statuses, port, served) == dict.fromkeys(served, 200)
        assert await asyncio.to_thread(statuses, port, (*others, *more)) == dict.fromkeys((*others, *more), 404)
        assert await worker.terminate() == 0
