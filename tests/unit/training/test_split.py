"""Splitting: no text on both sides, groups together, given splits kept, and a mix that keeps its quotas."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from training.authored import SOURCE as AUTHORED
from training.labels import Row
from training.split import AUTHORED_REPEATS, dev_mix, key, mix, split

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


def test_the_mix_takes_half_harm_fills_up_and_repeats_ours() -> None:
    harmful = [Row(f"h{n}", {"toxicity": 1.0}, "one") for n in range(50)]
    harmless = [Row(f"n{n}", {"toxicity": 0.0}, "one") for n in range(50)]
    rare = [Row("r", {"threat": 1.0}, "one")]
    ours = [Row("o", {}, AUTHORED)]

    mixed = mix(harmful + harmless + rare + ours, {"one": 20})
    filled = mix(harmful[:2] + harmless, {"one": 20})

    assert Counter(r.source for r in mixed) == {"one": 20, AUTHORED: AUTHORED_REPEATS}
    assert sum(r.text.startswith(("h", "r")) for r in mixed) == 10
    assert rare[0] in mixed
    assert Counter(r.text[0] for r in filled) == {"h": 2, "n": 18}


def test_dev_takes_a_quota_of_each_set_and_all_of_ours() -> None:
    dev = [Row(f"{source}{n}", {}, source) for source in ("one", AUTHORED) for n in range(30)]

    assert Counter(r.source for r in dev_mix(dev, 10)) == {"one": 10, AUTHORED: 30}
