"""Disguising: seeded, never to nothing, and mostly what the normaliser knows."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import obfuscate
from worker.normalise import normalise

SENTENCE = "You are such a stupid bitch, nobody here likes you!"


@settings(max_examples=500)
@given(st.text(max_size=60), st.integers())
def test_something_never_becomes_nothing(text: str, seed: int) -> None:
    disguised = obfuscate(text, Random(seed))

    assert bool(disguised.strip()) == bool(text.strip())


@given(st.integers())
def test_a_seed_gives_one_outcome(seed: int) -> None:
    assert obfuscate(SENTENCE, Random(seed)) == obfuscate(SENTENCE, Random(seed))


def test_it_does_many_things_and_most_texts_change() -> None:
    rng = Random(1)
    disguised = [obfuscate(SENTENCE, rng) for _ in range(500)]

    assert len(set(disguised)) > 300
    assert sum(text != SENTENCE for text in disguised) > 400


def test_a_few_words_change_and_the_rest_stays() -> None:
    rng = Random(2)
    words = set(SENTENCE.lower().split())
    kept = [len(words & set(obfuscate(SENTENCE, rng).lower().split())) for _ in range(300)]

    assert sum(kept) / len(kept) > len(words) - 4


def test_the_normaliser_undoes_some_and_leaves_some_to_the_model() -> None:
    rng = Random(3)
    disguised = [text for text in (obfuscate(SENTENCE, rng) for _ in range(500)) if text.lower() != SENTENCE.lower()]
    undone = sum(normalise(text).lower() == SENTENCE.lower() for text in disguised)

    assert 0.1 < undone / len(disguised) < 0.9
