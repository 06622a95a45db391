"""A policy's file that changes under a running worker: adopted when it is right and whole, refused once when it is wrong."""

from pathlib import Path

import pytest

from worker.errors import PolicyError
from worker.policy_file import load_policy
from worker.policy_watch import PolicyWatch

LENIENT = "{id: test, version: 1, labels: {insult: {all: {hold: 0.9}}}}"
STRICT = "{id: test, version: 2, labels: {insult: {all: {hold: 0.5}}}}"
WRONG = "{id: test, version: 3, labels: {insult: {all: {hold: 5}}}}"


class Bench:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "policy.yaml"
        self.write(LENIENT)
        self.watch = PolicyWatch(self.file, {}, load_policy(self.file).version)
        assert self.looks() == [None, None]

    def write(self, content: str) -> None:
        self.file.write_text(content, encoding="utf-8")

    def looks(self) -> list[str | None]:
        """The versions that come of two looks."""
        return [None if policy is None else policy.version.version for policy in (self.watch.look(), self.watch.look())]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_nothing_comes_of_a_file_that_stays_as_it_is(bench: Bench) -> None:
    assert bench.looks() == [None, None]
    assert not bench.watch.refusing


def test_a_new_policy_comes_once_when_it_has_been_the_same_at_two_looks(bench: Bench) -> None:
    bench.write(STRICT)

    assert bench.looks() == [None, "2"]
    assert bench.looks() == [None, None]


def test_a_file_that_is_still_being_written_is_not_read(bench: Bench) -> None:
    bench.write(STRICT.replace("0.5", "0.6"))
    assert bench.watch.look() is None
    bench.write(STRICT)
    assert bench.watch.look() is None

    policy = bench.watch.look()
    assert policy is not None
    assert policy.version == load_policy(bench.file).version


def test_one_that_is_emptied_before_the_first_look_is_refused_as_well(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(LENIENT, encoding="utf-8")
    watch = PolicyWatch(file, {}, load_policy(file).version)
    file.write_text("", encoding="utf-8")

    assert watch.look() is None
    with pytest.raises(PolicyError, match="not a policy"):
        watch.look()
    assert watch.refusing


def test_a_wrong_one_is_refused_once_and_known_to_be_there(bench: Bench) -> None:
    bench.write(WRONG)
    assert bench.watch.look() is None
    with pytest.raises(PolicyError, match=r"policy\.yaml:1: "):
        bench.watch.look()

    assert bench.looks() == [None, None]
    assert bench.watch.refusing


def test_the_old_one_back_ends_the_refusal_and_is_no_news(bench: Bench) -> None:
    test_a_wrong_one_is_refused_once_and_known_to_be_there(bench)
    bench.write(LENIENT)

    assert bench.looks() == [None, None]
    assert not bench.watch.refusing


def test_so_does_a_right_one(bench: Bench) -> None:
    test_a_wrong_one_is_refused_once_and_known_to_be_there(bench)
    bench.write(STRICT)

    assert bench.looks() == [None, "2"]
    assert not bench.watch.refusing


def test_a_file_that_is_gone_is_refused_until_it_is_back(bench: Bench) -> None:
    bench.file.unlink()
    assert bench.watch.look() is None
    with pytest.raises(PolicyError, match="cannot be read, or is too large"):
        bench.watch.look()
    assert bench.watch.refusing

    bench.write(LENIENT)
    assert bench.looks() == [None, None]
    assert not bench.watch.refusing


def test_one_too_large_to_be_a_policy_is_refused_like_one_that_is_gone(bench: Bench) -> None:
    bench.write("#" * 2**21)
    assert bench.watch.look() is None
    with pytest.raises(PolicyError, match="cannot be read, or is too large"):
        bench.watch.look()


def test_a_link_that_moves_is_followed(tmp_path: Path) -> None:
    """As a ConfigMap does it: a new folder, and a link that is exchanged for one to it."""
    for name, content in (("old", LENIENT), ("new", STRICT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "policy.yaml").write_text(content, encoding="utf-8")
    data, file = tmp_path / "data", tmp_path / "policy.yaml"
    data.symlink_to("old")
    file.symlink_to("data/policy.yaml")
    watch = PolicyWatch(file, {}, load_policy(file).version)
    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").rename(data)

    policies = [watch.look() for _ in range(3)]
    assert [None if policy is None else policy.version.version for policy in policies] == [None, "2", None]
