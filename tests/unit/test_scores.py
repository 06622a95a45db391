"""The memory of scores: bounded, least recently used out first, and without a text in it."""

import threading

from worker.classifier import Found
from worker.scores import ScoreCache

A, B = Found({"insult": 0.1}), Found({"insult": 0.2})
MODEL = "ab" * 32


def cache(entries: int) -> ScoreCache:
    return ScoreCache(entries, MODEL)


def test_what_was_put_is_found_again() -> None:
    made = cache(2)
    made.put(made.key("a"), A)

    assert made.get(made.key("a")) == A
    assert made.get(made.key("b")) is None


def test_it_never_holds_more_than_it_may() -> None:
    made = cache(3)
    for number in range(10):
        made.put(made.key(str(number)), A)

    assert len(made) == 3
    assert [made.get(made.key(str(number))) for number in (6, 7, 8, 9)] == [None, A, A, A]


def test_what_was_asked_for_stays_longest() -> None:
    made = cache(2)
    made.put(b"a", A)
    made.put(b"b", B)
    made.get(b"a")
    made.put(b"c", A)

    assert [made.get(key) for key in (b"a", b"b", b"c")] == [A, None, A]


def test_putting_again_refreshes_and_replaces() -> None:
    made = cache(2)
    made.put(b"a", A)
    made.put(b"b", B)
    made.put(b"a", B)
    made.put(b"c", A)

    assert [made.get(key) for key in (b"a", b"b", b"c")] == [B, None, A]


def test_without_entries_it_remembers_nothing() -> None:
    made = cache(0)
    made.put(b"a", A)

    assert (made.get(b"a"), len(made)) == (None, 0)


def test_a_key_is_a_digest_that_depends_on_the_model() -> None:
    key = cache(1).key("a secret")

    assert len(key) == 16
    assert b"secret" not in key
    assert key == cache(9).key("a secret")
    assert key != ScoreCache(1, "cd" * 32).key("a secret")


def test_texts_that_begin_alike_have_keys_of_their_own() -> None:
    beginning = "harmless " * 1000

    assert cache(1).key(beginning + "a") != cache(1).key(beginning + "b")


def test_threads_do_not_break_the_bound() -> None:
    made = cache(50)

    def work(offset: int) -> None:
        for number in range(2000):
            made.put(made.key(str(number + offset)), A)
            made.get(made.key(str(number)))

    threads = [threading.Thread(target=work, args=(offset,)) for offset in (0, 700)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 50
