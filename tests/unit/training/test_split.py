"""Splitting: no text on both sides, groups together, given splits kept, and a mix that keeps its quotas."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from training.authored import SOURCE as AUTHORED
from training.labels import Row
from training.split import dev_mix, epoch_rows, key, split

rows = st.lists(
    st.builds(
        Row,
        text=st.text("abC !", min_size=1, max_size=4),
        targets=st.sampled_from([{"toxicity": 1.0}, {"toxicity": 0.0}, {"threat": 1.0}, {}]),
        source=st.sampled_from(["one", "two", AUTHORED]),
        split=st.sampled_from([None, "train", "dev"]),
    ),
    max_size=40,
)


@given(rows)
def test_no_text_is_on_both_sides_and_none_is_lost(rows: list[Row]) -> None:
    train, dev = split(rows)

    taught, measured = [key(r.text) for r in train], [key(r.text) for r in dev]
    assert not set(taught) & set(measured)
    assert set(taught) | set(measured) == {key(r.text) for r in rows}
    assert len(set(taught)) == len(taught)


def test_case_and_spaces_do_not_make_another_text() -> None:
    train, dev = split([Row("Hello  There!", {}, "one", "dev"), Row("hello there !", {}, "two", "train")])

    assert (len(train), len(dev)) == (0, 1)


def test_a_group_falls_on_one_side() -> None:
    pairs = [Row(f"{word} {n}", {}, "one", group=f"pair-{n}") for n in range(300) for word in ("rude", "civil")]

    train, dev = split(pairs)

    assert not {r.group for r in train} & {r.group for r in dev}
    assert 0 < len(dev) < 60


def test_over_the_epochs_every_row_of_a_set_is_seen_equally_often() -> None:
    rows_ = [
        Row(f"{source}{n}", {}, source)
        for source, count in (("one", 10), ("two", 3), ("three", 5))
        for n in range(count)
    ]
    quotas = {"one": 4, "two": 6}

    seen = Counter(number for epoch in range(5) for number in epoch_rows(rows_, epoch, quotas))

    assert len(epoch_rows(rows_, 0, quotas)) == 10
    assert {seen[n] for n in range(10)} == {2}
    assert {seen[n] for n in range(10, 13)} == {10}
    assert all(n < 13 for n in seen)


def test_an_epoch_takes_up_where_the_last_one_stopped() -> None:
    rows_ = [Row(f"r{n}", {}, "one") for n in range(10)]

    assert not set(epoch_rows(rows_, 0, {"one": 5})) & set(epoch_rows(rows_, 1, {"one": 5}))


def test_the_last_epoch_has_a_mix_of_its_own() -> None:
    rows_ = [Row(f"{source}{n}", {}, source) for source in ("dynahate", "mhs", "other") for n in range(40)]
    quotas = {"dynahate": 10, "mhs": 10, "other": 10}

    seen = Counter(rows_[n].source for n in epoch_rows(rows_, 2, quotas, last=True))

    assert seen == {"dynahate": 20, "mhs": 3, "other": 10}


def test_dev_takes_a_quota_of_each_set_and_all_of_ours() -> None:
    dev = [Row(f"{source}{n}", {}, source) for source in ("one", AUTHORED) for n in range(30)]

    assert Counter(r.source for r in dev_mix(dev, 10)) == {"one": 10, AUTHORED: 30}
