"""The audit of a long run finds what it is there to find."""

from collections.abc import Callable

import pytest

from tests.chaos.account import Account


def settled() -> Account:
    """Two records in one partition, decided, read and committed."""
    account = Account(1, 2)
    for offset in (0, 1):
        account.log((0, offset), offset)
        account.acknowledge((0, offset), at=10.0)
        account.decide((0, offset), offset, digest=7 + offset, written=(0, offset), at=10.5 + offset)
    return account


def commit(account: Account, offset: int, ends: list[int]) -> None:
    account.commit({0: offset}, ends)
    account.check_commits()


def test_all_is_well() -> None:
    account = settled()
    commit(account, 2, [2, 0])

    assert account.is_at_rest()
    assert account.problems() == []
    assert account.take_latencies_s() == [0.5, 1.5]
    assert account.take_latencies_s() == []
    assert (account.lag, account.lag_s(20.0)) == (0, 0.0)


def test_before_the_commit_there_is_lag() -> None:
    account = settled()
    commit(account, 1, [2, 0])

    assert not account.is_at_rest()
    assert account.lag == 1
    assert account.lag_s(20.0) == 10.0
    assert account.problems() == ["I5: 1 records not committed"]


def test_it_is_not_at_rest_before_what_was_acknowledged_has_been_read() -> None:
    account = settled()
    commit(account, 2, [2, 0])
    account.acknowledge((0, 2), at=10.0)

    assert not account.is_at_rest()


def test_a_commit_is_checked_once_everything_before_it_has_been_read() -> None:
    account = settled()
    commit(account, 2, [3, 0])

    assert not account.is_at_rest()
    account.decide((0, 1), 1, digest=8, written=(0, 2), at=12.0)
    account.check_commits()
    assert account.is_at_rest()
    assert account.repeats == 1


def test_an_output_may_end_with_what_nobody_gets_to_read() -> None:
    account = settled()
    commit(account, 2, [3, 1])
    assert not account.is_at_rest()

    for output, position in enumerate((3, 1)):
        account.read(output, position)
    account.check_commits()
    assert account.is_at_rest()


def test_a_decision_that_is_read_before_its_record_is_acknowledged() -> None:
    account = Account(1, 1)
    account.decide((0, 5), 3, digest=7, written=(0, 0), at=10.0)
    account.log((0, 5), 3)
    account.acknowledge((0, 5), at=11.0)

    assert account.take_latencies_s() == [0.0]
    commit(account, 6, [1])
    assert account.problems() == []


def lose_a_record(account: Account) -> None:
    account.acknowledge((0, 2), at=10.0)


def decide_nothing(account: Account) -> None:
    account.log((0, 2), 2)
    commit(account, 3, [2, 0])


def refuse_a_comment(account: Account) -> None:
    account.refuse((0, 1))


def decide_of_nothing(account: Account) -> None:
    account.decide((0, 2), 2, digest=7, written=(1, 0), at=11.0)


def decide_of_another(account: Account) -> None:
    account.log((0, 2), 2)
    account.decide((0, 2), 3, digest=7, written=(1, 0), at=11.0)


def decide_differently(account: Account) -> None:
    account.decide((0, 1), 1, digest=99, written=(0, 2), at=11.0)


def commit_too_early(account: Account) -> None:
    account.log((0, 2), 2)
    account.commit({0: 3}, [2, 0])
    account.decide((0, 2), 2, digest=7, written=(0, 2), at=11.0)
    account.check_commits()


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (lose_a_record, "acknowledged and not in the log: 1 records, 0/2"),
        (decide_nothing, "I1: without an outcome: 1 records, 0/2"),
        (refuse_a_comment, "I1: a comment among the dead letters: 1 records, 0/1"),
        (decide_of_nothing, "I2: an outcome that is not of the record that it names: 1 records, 0/2"),
        (decide_of_another, "I2: an outcome that is not of the record that it names: 1 records, 0/2"),
        (decide_differently, "I3: two verdicts: 1 records, 0/1"),
        (commit_too_early, "I4: no outcome when a commit had passed it: 1 records, 0/2"),
    ],
)
def test_what_does_not_add_up(fault: Callable[[Account], None], line: str) -> None:
    account = settled()
    commit(account, 2, [2, 0])
    fault(account)

    assert line in account.problems()
