"""The planted bugs: each is one that this worker could have had, or that another one has had.

A snippet is as short as it can be and at the heart of the matter, so that a change around it leaves it alone. Where one no longer
fits, plant the same bug in what stands there now: what it would do to somebody is what counts, not where.
"""

from typing import Final

from msgspec import Struct

from tests.mutants.trial import Edit


class Mutant(Struct, frozen=True):
    """One planted bug.

    Attributes:
        name: what it is.
        harm: what it would do, in a line.
        edit: how it is planted.
        unit: the tests that have to see it; none: only a broker can show it.
        broker: one that has to see it on a real broker.
    """

    name: str
    harm: str
    edit: Edit
    unit: tuple[str, ...] = ()
    broker: str | None = None


_AGENTS: Final = (
    "tests/unit/test_agents.py",
    "tests/unit/test_agents_failures.py",
    "tests/unit/test_agents_bounds.py",
)
_REDRIVE: Final = ("tests/unit/test_redrive.py",)
_REVOKED: Final = ("tests/unit/test_revoked.py",)
_SCREENING: Final = ("tests/unit/test_screening.py",)
_CONSUMER: Final = ("tests/unit/test_consumer.py",)
_PUBLISHER: Final = ("tests/unit/test_publisher.py",)
_LEDGER: Final = ("tests/unit/test_ledger.py",)
_TRANSACTIONAL: Final = ("tests/unit/test_transactional.py",)
_POLICY: Final = ("tests/unit/test_policy.py",)
_EVERYTHING: Final = (
    "tests/integration/test_worker.py::test_every_record_is_accounted_for_and_decided_as_screen_decides_it"
)
_LATE_WINDOW: Final = "tests/chaos/test_first_commits.py::test_no_commit_passes_a_window_that_is_late[nothing]"
_POISON: Final = "tests/chaos/test_poison.py::test_exactly_the_poison_becomes_dead_letters"
_MEMORY: Final = "tests/integration/test_overload.py::test_a_backlog_of_the_largest_records_does_not_fill_its_memory"
_SIGTERM: Final = (
    "tests/integration/test_failures.py::test_sigterm_under_load_finishes_what_was_begun_and_repeats_nothing"
)

SLOW_WORLD: Final = (
    Edit("worker/publisher.py", '"linger_ms": 5,', '"linger_ms": 500,'),
    Edit(
        "worker/publisher.py",
        "        deadline = time.monotonic() + self._timeout_s\n",
        "        deadline = time.monotonic() + self._timeout_s\n        await asyncio.sleep(time.monotonic() % 1)\n",
    ),
    Edit("tests/audit.py", "PATIENCE_S: Final = ", "PATIENCE_S: Final = 60.0  # instead of "),
)
"""What is done to every copy that meets a broker, the healthy one too: what is sent takes its time, and windows overtake one
another. On loopback a broker confirms within milliseconds, and a bug that needs it to be slow would need luck to be seen."""

MUTANTS: Final = (
    # ---- acks and commits
    Mutant(
        "early ack",
        "a worker that is killed loses the comments that it was about to publish",
        Edit(
            "worker/acking.py",
            "        await self._publish(window, outcomes)\n        self._finish(window)\n",
            "        self._finish(window)\n        await self._publish(window, outcomes)\n",
        ),
        _AGENTS,
        _EVERYTHING,
    ),
    Mutant(
        "ack out of order",
        "a window that overtakes another is committed over it; a kill loses the other",
        Edit(
            "worker/acking.py",
            "            settled += delivery.watermark.finish(delivery.record.offset)\n",
            "            delivery.watermark.finish(delivery.record.offset)\n            settled.append(delivery)\n",
        ),
        _AGENTS,
        _LATE_WINDOW,
    ),
    Mutant(
        "commit one too far",
        "the first comment that is not finished is committed over",
        Edit("worker/acking.py", "each.record.offset + 1 for", "each.record.offset + 2 for"),
        _AGENTS,
    ),
    Mutant(
        "commits that a hole stops",
        "behind a hole in a compacted topic nothing is committed any more; a restart does all of it again",
        Edit(
            "worker/consumer.py",
            "        return positions[0] if positions else None\n",
            "        committed = self._committed_offset[tp]\n"
            "        return positions[0] if positions and positions[0] == (committed or 0) + 1 else None\n",
        ),
        _CONSUMER,
    ),
    Mutant(
        "commit that failed forgotten",
        "what was finished before a quiet hour is done again after a restart",
        Edit(
            "worker/consumer.py",
            "        return positions[0] if positions else None\n",
            "        return positions.pop() if positions else None\n",
        ),
        _CONSUMER,
    ),
    Mutant(
        "commit that failed taken for one",
        "the same",
        Edit(
            "worker/consumer.py",
            "            if not await self._commit(offsets):\n                return False\n            self._committed_offset",
            "            await self._commit(offsets)\n            self._committed_offset",
        ),
        _CONSUMER,
    ),
    Mutant(
        "commits that wait for one another as Faust's do",
        "with a silent coordinator neither an error nor a signal ends the worker",
        Edit("worker/consumer.py", "async def maybe_wait_for_commit_to_finish", "async def wait_for_commit"),
        _CONSUMER,
    ),
    Mutant(
        "aborted transactions are read",
        "what a producer called off is decided and published",
        Edit("worker/consumer.py", '"read_committed"', '"read_uncommitted"'),
        _CONSUMER,
    ),
    Mutant(
        "off-by-one gap",
        "a single unfinished comment is committed over",
        Edit(
            "worker/watermark.py",
            "        while self._open and self._open[0][0] in self._finished:\n"
            "            head, item = self._open.popleft()\n"
            "            self._finished.remove(head)\n",
            "        while self._open and {self._open[0][0], self._open[0][0] + 1} & self._finished:\n"
            "            head, item = self._open.popleft()\n"
            "            self._finished.discard(head)\n",
        ),
        ("tests/unit/test_watermark.py",),
    ),
    Mutant(
        "send not awaited",
        "what the broker never took is committed as done",
        Edit(
            "worker/publisher.py",
            "            await confirmation\n        except KafkaError as error:\n            _note(",
            "            confirmation.done()\n        except KafkaError as error:\n            _note(",
        ),
        _PUBLISHER,
        _EVERYTHING,
    ),
    Mutant(
        "dead letter not awaited",
        "a record that could not be screened is committed before its dead letter is with the broker",
        Edit(
            "worker/acking.py",
            "        refused = await self._publisher.publish("
            "[self._message(delivery, outcome) for delivery, outcome in written])\n",
            "        import asyncio\n"
            "        messages = [self._message(*pair) for pair in written]\n"
            "        if letters := [message for message in messages if message.topic == self._topics.dead_letters]:\n"
            "            self._late = asyncio.create_task(self._publisher.publish(letters))\n"
            "        decided = [message for message in messages if message.topic == self._topics.decisions]\n"
            "        refused = await self._publisher.publish(decided) if decided else []\n",
        ),
        _AGENTS,
        _POISON,
    ),
    Mutant(
        "stale-generation ack",
        "a worker that was frozen through a rebalance acks for an assignment that it no longer has",
        Edit("worker/agents.py", " and fetch.generation_id == self._generation()\n", "\n"),
        _AGENTS,
    ),
    Mutant(
        "ack of an earlier assignment",
        "records read before a rebalance are acked after it, ahead of those that are read again",
        Edit(
            "worker/agents.py",
            "self._watermarks.get(fetch.partition) is delivery.watermark and ",
            "",
        ),
        _AGENTS,
    ),
    Mutant(
        "watermark reset on rebalance",
        "what was being finished while partitions moved is never acked, and done again by somebody else",
        Edit(
            "worker/agents.py",
            "        self._accepting = False\n        dropped",
            "        self._accepting = False\n        self._watermarks = {}\n        dropped",
        ),
        _AGENTS,
    ),
    Mutant(
        "watermark kept over a rebalance",
        "the worker ends when it reads again what it had read before",
        Edit(
            "worker/agents.py",
            "        self._watermarks = {}\n        self._accepting = True\n",
            "        self._accepting = True\n",
        ),
        _AGENTS,
    ),
    Mutant(
        "event of an old generation taken in",
        "a record that waited through a rebalance is screened for somebody else's partition",
        Edit(
            "worker/agents.py",
            "if not self._accepting or fetch.generation_id != self._generation():",
            "if not self._accepting:",
        ),
        _AGENTS,
    ),
    Mutant(
        "decision on what is somebody else's by now",
        "the last word on an edited comment is the one on its old text, by a worker that had lost the partition",
        Edit("worker/acking.py", "for delivery in window if self._was_dealt_anew(delivery)}", "for delivery in ()}"),
        _REVOKED,
    ),
    Mutant(
        "a rebalance that waits for ever",
        "the same, by a worker that could not write for longer than the group has waited",
        Edit(
            "worker/faust_app.py",
            "        overdue = asyncio.create_task(self._end_overdue())\n",
            "        overdue = asyncio.Future()\n",
        ),
        _REVOKED,
    ),
    Mutant(
        "exception swallowed in the agent",
        "the broker refuses, the worker shrugs, and the comments are committed without a decision",
        Edit(
            "worker/acking.py",
            "        await self._publish(window, outcomes)\n        self._finish(window)\n",
            "        try:\n"
            "            await self._publish(window, outcomes)\n"
            "        except Exception:\n"
            "            log.warning('publishing failed')\n"
            "        self._finish(window)\n",
        ),
        _AGENTS,
    ),
    Mutant(
        "first start from the end",
        "what was written before the worker's first start is never screened",
        Edit("worker/faust_app.py", 'consumer_auto_offset_reset="earliest"', 'consumer_auto_offset_reset="latest"'),
        (),
        _SIGTERM,
    ),
    # ---- the end
    Mutant(
        "drain that drops the queue",
        "at each stop and rebalance, what was read and not begun is committed undecided",
        Edit(
            "worker/agents.py",
            "        self._let_go(dropped)\n",
            "        for delivery in reversed(dropped):\n"
            "            self._advance(delivery.record.partition, delivery.record.offset + 1)\n"
            "        self._let_go(dropped)\n",
        ),
        _AGENTS,
        _SIGTERM,
    ),
    Mutant(
        "drain that lets go of nothing",
        "Faust waits for events that nobody will ack: a stop hangs until it is killed, a rebalance until it times out",
        Edit(
            "worker/agents.py",
            "        self._let_go(dropped)\n",
            "        self._in_flight -= len(dropped)\n"
            "        self._in_flight_bytes -= sum(delivery.size for delivery in dropped)\n"
            "        self._changed.set()\n",
        ),
        _AGENTS,
        _SIGTERM,
    ),
    Mutant(
        "who waits is not let go at a stop",
        "with the worker full, a stop waits for room that never comes",
        Edit(
            "worker/agents.py",
            "self._has_room(fetch.partition) or not self._accepting",
            "self._has_room(fetch.partition)",
        ),
        _AGENTS,
    ),
    Mutant(
        "a long comment shares its window",
        "whoever came with ten pages waits until all of them are scored",
        Edit("worker/agents.py", "if window and (is_long or room < 0):", "if window and room < 0:"),
        _AGENTS,
    ),
    Mutant(
        "windows of any number of bytes",
        "a flood of pages keeps the model so busy that the watchdog thinks it dead",
        Edit("worker/agents.py", "if window and (is_long or room < 0):", "if window and is_long:"),
        _AGENTS,
    ),
    Mutant(
        "runs in the order in which they are asked for",
        "a word stands behind ten pages that came before it",
        Edit("worker/runs.py", "time.monotonic() + tokens * PATIENCE_S", "time.monotonic()"),
        ("tests/unit/test_runs.py",),
    ),
    Mutant(
        "runs for whoever wants least, always",
        "where short comments never end, a long one is never decided",
        Edit("worker/runs.py", "time.monotonic() + tokens * PATIENCE_S", "float(tokens)"),
        ("tests/unit/test_runs.py",),
    ),
    Mutant(
        "runs that go on when one has failed",
        "the halves of a failing batch wait behind what nobody asks for any more",
        Edit("worker/runs.py", "for each in wanted if not each.cancel()", "for each in wanted if each.running()"),
        ("tests/unit/test_runs.py",),
    ),
    Mutant(
        "no bound on bytes in flight",
        "large comments fill the memory, and the machine kills the worker, again and again",
        Edit("worker/agents.py", " and self._in_flight_bytes < self._max_in_flight_bytes\n", "\n"),
        _AGENTS,
        _MEMORY,
    ),
    Mutant(
        "headers weigh nothing",
        "the same, by headers that nobody counts",
        Edit("worker/consumer.py", 'len(record.value or b"") + headers', 'len(record.value or b"")'),
        (*_AGENTS, *_CONSUMER),
    ),
    Mutant(
        "no bound on bytes read ahead",
        "the same, a step earlier: in what Faust holds ready",
        Edit("worker/faust_app.py", "            max_bytes=self.max_buffer_bytes,\n", "            max_bytes=2**40,\n"),
        (),
        _MEMORY,
    ),
    Mutant(
        "stall that is never seen",
        "a worker that hangs holds its partitions for ever",
        Edit("worker/watchdog.py", " or not waiting:", " or waiting:"),
        ("tests/unit/test_watchdog.py",),
    ),
    # ---- records that are wrong
    Mutant(
        "dead-letter limit off",
        "a bad deploy of a producer drains the topic into the dead letters",
        Edit(
            "worker/agents.py",
            "            self._limit.note(\n"
            "                [\n"
            "                    outcome.reason if isinstance(outcome, Rejection) else None\n"
            "                    for delivery, outcome in zip(window, outcomes, strict=True)\n"
            "                    if outcome and delivery.counts\n"
            "                ]\n"
            "            )\n",
            "",
        ),
        _AGENTS,
    ),
    Mutant(
        "dead-letter limit for what was put back",
        "a hundred letters redriven that are still wrong stop each worker that reads them",
        Edit("worker/agents.py", "if outcome and delivery.counts", "if outcome"),
        _AGENTS,
    ),
    Mutant(
        "handled letters known by their places alone",
        "a replay opens what was handled, and in a mirror others are taken for it",
        Edit("worker/redrive.py", "            self._handled[note.original] = note.state\n", "            pass\n"),
        _REDRIVE,
    ),
    Mutant(
        "dead-letter limit for what authors write",
        "a hundred empty comments in a quiet hour stop all workers",
        Edit("worker/dead_letters.py", "            if reason in _OF_AUTHORS:\n                continue\n", ""),
        ("tests/unit/test_dead_letters.py",),
    ),
    Mutant(
        "dead-letter limit that never resets",
        "dead letters that are days apart stop the worker",
        Edit("worker/dead_letters.py", "self._row + 1 if dead else 0", "self._row + dead"),
        ("tests/unit/test_dead_letters.py",),
    ),
    Mutant(
        "dead letter without repeated headers",
        "a letter is not the record that it was: tracing and routing are lost",
        Edit(
            "worker/agents.py",
            "headers=list(original.headers),",
            "headers=list(dict(original.headers).items()),",
        ),
        _AGENTS,
    ),
    Mutant(
        "dead letter in whole seconds",
        "a letter's timestamp is not its record's",
        Edit("worker/agents.py", "is None else original.timestamp", "is None else int(delivery.written_at) * 1000"),
        _AGENTS,
    ),
    Mutant(
        "dead letter made readable",
        "bytes that are no UTF-8 are replaced, and what was wrong with them can no longer be seen",
        Edit(
            "worker/agents.py",
            'value=original.value or b"",',
            'value=(original.value or b"").decode(errors="replace").encode(),',
        ),
        _AGENTS,
    ),
    Mutant(
        "bisection that blames the neighbour",
        "a poisoned comment takes the one beside it into the dead letters",
        Edit(
            "worker/screening.py",
            "        if len(texts) == 1:\n            return [",
            "        if len(texts) <= 2:\n            return len(texts) * [",
        ),
        _SCREENING,
    ),
    Mutant(
        "broken model taken for broken records",
        "a model that fails turns every comment into a dead letter",
        Edit(
            "worker/screening.py",
            "        self.probe()\n        try:\n            return self._run_model",
            "        try:\n            return self._run_model",
        ),
        _SCREENING,
    ),
    Mutant(
        "one failure is one too many",
        "a model that fails once makes a dead letter of a good comment",
        Edit(
            "worker/screening.py",
            "            return self._run_model([text])[0]\n",
            "            raise RuntimeError\n",
        ),
        _SCREENING,
    ),
    Mutant(
        "refused decision forgotten",
        "a decision that is too large for its topic is dropped, and its comment with it",
        Edit(
            "worker/acking.py",
            "        if refused:\n",
            "        if refused and not written:\n",
        ),
        _AGENTS,
    ),
    Mutant(
        "error message that quotes the comment",
        "the text stands in a header that many may read",
        Edit("worker/screening.py", 'f"{what}: raised at {place}")', 'f"{what}: {error}")'),
        _SCREENING,
    ),
    Mutant(
        "error message that quotes a field",
        "what stood in a field is in a header that many may read",
        Edit("worker/codec.py", '"not one of the known values" if message.startswith("Invalid enum") else ', ""),
        ("tests/unit/test_codec.py",),
    ),
    # ---- retries and counts
    Mutant(
        "retry that skips",
        "the first of several sends that failed is never sent again, and committed",
        Edit(
            "worker/publisher.py",
            "in_order([at for at, _ in failed], ",
            "in_order([at for at, _ in failed[1:]], ",
        ),
        _PUBLISHER,
    ),
    Mutant(
        "not all replicas",
        "a broker that dies takes decisions with it that were confirmed",
        Edit("worker/publisher.py", '"acks": "all",', '"acks": 1,'),
        _PUBLISHER,
    ),
    Mutant(
        "counted before it is confirmed",
        "the dashboards tell of decisions that nobody ever got",
        Edit(
            "worker/acking.py",
            "            if outcome and delivery not in lost\n        ]\n",
            "            if outcome and delivery not in lost\n        ]\n        self._count(written, tombstones=0)\n",
        ),
        _AGENTS,
    ),
    # ---- transactions
    Mutant(
        "transaction without its offset",
        "a worker that dies after it has all of its last window decided twice",
        Edit(
            "worker/ledger.py",
            "        await producer.send_offsets_to_transaction({self._tp: position}, self._group_id)\n",
            "",
        ),
        _LEDGER,
    ),
    Mutant(
        "commit whose answer was lost, done again",
        "a broker that dies in answering has a window decided twice",
        Edit(
            "worker/ledger.py",
            "                    return []\n                if committed != self.position",
            "                    pass\n                elif committed != self.position",
        ),
        _LEDGER,
    ),
    Mutant(
        "offset asked for before the last owner is fenced",
        "what the last owner commits in between is decided twice",
        Edit(
            "worker/ledger.py",
            "            self._producer = await self._start_producer()\n"
            "            self.position = await self._committed(self._tp)\n",
            "            self.position = await self._committed(self._tp)\n"
            "            self._producer = await self._start_producer()\n",
        ),
        _LEDGER,
    ),
    Mutant(
        "close that tells nobody",
        "what a rebalance overtakes is waited for until its try runs out: longer than a shutdown may take",
        Edit(
            "worker/ledger.py",
            "            self._trying.reschedule(asyncio.get_running_loop().time())\n",
            "            pass\n",
        ),
        _LEDGER,
    ),
    Mutant(
        "worker that was fenced takes the partition back",
        "a worker that was frozen repeats what its heir has decided",
        Edit(
            "worker/ledger.py",
            "                if committed != self.position:\n                    self._check_behind(committed)\n",
            "",
        ),
        _LEDGER,
    ),
    Mutant(
        "coordinator believed that knows less than the ledger",
        "what was written before it forgot is read and written again",
        Edit("worker/consumer.py", "max(offset or 0, written(tp.partition) or 0) or None", "offset or None"),
        _CONSUMER,
    ),
    Mutant(
        "transactions out of order",
        "a window that overtakes another commits the offset past it",
        Edit("worker/transactional.py", "        async with ledger.turn:\n", "        async with asyncio.Lock():\n"),
        _TRANSACTIONAL,
    ),
    Mutant(
        "outcomes of an earlier assignment committed",
        "records read before a rebalance are committed after it, past those that are read again",
        Edit("worker/transactional.py", "not self._is_current(first) or ", ""),
        _TRANSACTIONAL,
    ),
    Mutant(
        "lost partition read on",
        "a partition that somebody else writes for is read for ever, with nothing committed and no lag to be seen",
        Edit("worker/transactional.py", "            await self._until_lost(run[0])\n", ""),
        _TRANSACTIONAL,
    ),
    # ---- what a decision depends on
    Mutant(
        "decision id without the text",
        "an edited comment gets its old decision's id, and one of the two verdicts is lost",
        Edit("worker/screening.py", "        _measured(comment.text),\n", ""),
        ("tests/unit/test_screening.py::test_other_work_has_another",),
    ),
    Mutant(
        "decision id without the audience",
        "a comment shown to children and to adults has two verdicts under one id",
        Edit("worker/screening.py", '        _measured(comment.audience_age_band or "unknown"),\n', ""),
        ("tests/unit/test_screening.py::test_other_work_has_another",),
    ),
    Mutant(
        "cache keyed without the model",
        "a new model decides by the scores of the old one",
        Edit("worker/scores.py", "key=self._key, ", ""),
        ("tests/unit/test_scores.py",),
    ),
    Mutant(
        "cache keyed by the beginning of a text",
        "harm behind a harmless preface gets the preface's scores",
        Edit("worker/scores.py", "blake2b(text.encode(),", "blake2b(text.encode()[:256],"),
        ("tests/unit/test_scores.py",),
    ),
    Mutant(
        "score that depends on the company",
        "a comment gets another verdict when it is screened again beside others",
        Edit("worker/batching.py", "by_width[width].append(index)", "by_width[max(widths)].append(index)"),
        ("tests/unit/test_batching.py",),
    ),
    Mutant(
        "harm behind a preface averaged away",
        "a long comment hides a threat at its end",
        Edit("worker/classifier.py", "else max(p.scores[label] for p in pieces)", "else pieces[0].scores[label]"),
        ("tests/unit/test_screening.py::test_a_long_text_is_judged_by_its_worst_piece_and_its_kindness_on_average",),
    ),
    # ---- edits, repeats, strangers
    Mutant(
        "an edit overtakes what was edited",
        "the decision on a comment's old text is the last word on it",
        Edit(
            "worker/agents.py",
            "            async with self._turns.take(turn):\n                await self._deliver(window, outcomes)\n",
            "            await self._deliver(window, outcomes)\n",
        ),
        _AGENTS,
    ),
    Mutant(
        "an edit in the same batch overtaken by what is sent again",
        "the same, after a broker that failed once",
        Edit(
            "worker/publisher.py", "in_order([at for at, _ in failed], messages, refused)", "[at for at, _ in failed]"
        ),
        _PUBLISHER,
    ),
    Mutant(
        "what was decided before a crash is shed after it",
        "an escalation is replaced by nobody having looked",
        Edit("worker/agents.py", "delivery.may_be_shed and is_overdue", "is_overdue"),
        _AGENTS,
    ),
    Mutant(
        "more decided than is spared after a crash",
        "the same, where commits hang, or come slowly",
        Edit("worker/acking.py", "watermark.uncommitted < self._spared", "watermark.uncommitted >= 0"),
        _AGENTS,
    ),
    Mutant(
        "headers read strictly",
        "one record with a header name in another encoding stops its partition for good",
        Edit("worker/consumer.py", "header_names.Records.install()\n", ""),
        ("tests/unit/test_header_names.py",),
        "tests/integration/test_worker.py::test_a_header_whose_name_is_no_utf8_holds_nobody_up",
    ),
    Mutant(
        "a dead letter's time insisted on",
        "a record older than its topic takes stops its partition for good",
        Edit(
            "worker/publisher.py", "if isinstance(error, InvalidTimestampError) else message", "if False else message"
        ),
        (*_PUBLISHER, *_LEDGER),
    ),
    Mutant(
        "gauges of a partition that has gone",
        "somebody is woken for a lag that an heir has worked off",
        Edit("worker/vitals.py", "in self._ours(positions).items()", "in positions.items()"),
        ("tests/unit/test_vitals.py",),
    ),
    # ---- policy
    Mutant(
        "weaker action wins",
        "a threat with a rude word in it is only limited",
        Edit("worker/policy.py", "return -reason.action.strength, ", "return reason.action.strength, "),
        _POLICY,
    ),
    Mutant(
        "unknown audience treated as adult",
        "children see what only adults were meant to see",
        Edit(
            "worker/policy.py",
            "self._communities.get(community_id, self._default)\n        return table[audience or AgeBand.UNKNOWN]",
            "self._communities.get(community_id, self._default)\n        return table[audience or AgeBand.ADULT]",
        ),
        _POLICY,
    ),
    Mutant(
        "threshold not reached by its own score",
        "a score of exactly the threshold does not fire",
        Edit("worker/policy.py", "            if score < floor:\n", "            if score <= floor:\n"),
        _POLICY,
    ),
    Mutant(
        "no score passes for harmless",
        "a model that computes NaN allows everything",
        Edit("worker/policy.py", "            if score < floor:\n", "            if not score >= floor:\n"),
        _POLICY,
    ),
    Mutant(
        "unsupported language allowed",
        "a comment that nobody has understood is shown to children",
        Edit(
            "worker/policy.py",
            "        return [ReasonGiven(kind, None, None, audience or AgeBand.UNKNOWN, rule.action, rule.name)]\n",
            "        return []\n",
        ),
        _POLICY,
    ),
    Mutant(
        "language as the producer says",
        "a Russian comment sent with the author's English locale passes for safe",
        Edit(
            "worker/language.py",
            " and is_supported(declared) == supported:\n        return Language(declared, supported)",
            ":\n        return Language(declared, is_supported(declared))",
        ),
        ("tests/unit/test_language.py",),
    ),
    Mutant(
        "danger removed unseen",
        "a threat that a person was to look at vanishes, because it was rude as well",
        Edit("worker/policy.py", "    if not removing:\n", "    if removing is not None:\n"),
        _POLICY,
    ),
    Mutant(
        "removed by a model that is never sure enough",
        "comments vanish for a label that the model's card says to remove nothing for",
        Edit(
            "worker/policy_precisions.py",
            "if not (isinstance(score, float) or unsure or ",
            "if not (isinstance(score, float) or ",
        ),
        ("tests/unit/test_policy_file.py", *_POLICY),
    ),
    # ---- where in the text
    Mutant(
        "span off by one in disguised text",
        "a moderator is shown half of a word, or the wrong one",
        Edit(
            "worker/normalise.py",
            "return self._starts[start], self._ends[end - 1]",
            "return self._starts[start], self._starts[end - 1] + 1",
        ),
        ("tests/unit/test_normalise.py::test_a_piece_is_found_again_in_the_original",),
    ),
    Mutant(
        "span of the text as the model reads it",
        "what is pointed at stands elsewhere in what was written",
        Edit("worker/screening.py", "*normalised.original(span.start, span.end), ", "span.start, span.end, "),
        _SCREENING,
    ),
    Mutant(
        "padding read as text",
        "scores follow from how a text was padded",
        Edit("worker/onnx.py", "attention_mask[row, : len(tokens)] = 1", "attention_mask[row, :] = 1"),
        ("tests/unit/test_onnx.py::test_padding_counts_for_nothing",),
    ),
)
