"""What a classifier promises: one suite, which the fake of the other tests and the shipped model both pass."""

import random
import threading
from collections.abc import Sequence
from itertools import chain, pairwise

import pytest

from tests.fakes import FakeClassifier
from worker.classifier import HARM_LABELS, KIND_LABELS, LABELS, Classifier, Found, Piece, Scores, combine
from worker.onnx import OnnxClassifier, model_folder
from worker.pieces import batches_of, of_texts
from worker.records import Span

KIND = "you did so well, thanks a lot, I am proud of you"
CRUEL = "you are a stupid idiot, I will kill you"
CALM = "the train leaves at nine and arrives at ten. "
WORDS = (
    "you",
    "are",
    "kind",
    "stupid",
    "idiot",
    "thanks",
    "so",
    "weather",
    "train",
    "kill",
    "never",
    "7",
    "🦊",
    "été",
    "!",
)


@pytest.fixture(scope="session")
def shipped() -> OnnxClassifier:
    return OnnxClassifier(model_folder("default"), threads=2)


@pytest.fixture(params=["fake", "shipped"])
def classifier(request: pytest.FixtureRequest) -> Classifier:
    if request.param == "fake":
        return FakeClassifier()
    shipped: Classifier = request.getfixturevalue(request.param)
    return shipped


def find(classifier: Classifier, texts: Sequence[str], max_tokens: int = 4096) -> list[Found]:
    """What is found in whole texts, batched as the worker does it."""
    pieces_of_text = classifier.encode(texts)
    pieces = list(chain.from_iterable(pieces_of_text))
    found: dict[int, Found] = {}
    for batch in batches_of(pieces, [classifier.width(piece) for piece in pieces], max_tokens):
        found |= zip(batch.at, classifier.score(batch.pieces), strict=True)
    return of_texts(pieces_of_text, found)


def score(classifier: Classifier, texts: Sequence[str]) -> list[Scores]:
    return [found.scores for found in find(classifier, texts)]


def random_texts(seed: int, count: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 40))) for _ in range(count)]


def test_it_says_what_it_is(classifier: Classifier) -> None:
    assert classifier.model.name
    assert classifier.model.version
    assert len(bytes.fromhex(classifier.model.sha256)) == 32


def test_its_labels_are_some_of_ours_in_our_order(classifier: Classifier) -> None:
    assert [label for label in LABELS if label in classifier.labels] == list(classifier.labels) != []


def test_every_text_gets_a_score_from_0_to_1_for_every_label(classifier: Classifier) -> None:
    for scores in score(classifier, [KIND, CRUEL, CALM, *random_texts(1, 20)]):
        assert list(scores) == list(classifier.labels)
        assert all(type(value) is float and 0 <= value <= 1 for value in scores.values())


def test_it_knows_cruel_from_kind(classifier: Classifier) -> None:
    kind, cruel = score(classifier, [KIND, CRUEL])

    assert cruel["insult"] > 0.5 > kind["insult"]
    assert kind["kindness"] > 0.5 > cruel["kindness"]


def test_scores_come_in_the_order_of_the_texts(classifier: Classifier) -> None:
    texts = random_texts(2, 30)

    assert score(classifier, texts[::-1]) == score(classifier, texts)[::-1]


def test_a_text_scores_the_same_to_the_last_bit_alone_and_in_any_company(classifier: Classifier) -> None:
    texts = list(dict.fromkeys([KIND, CRUEL, CALM, "a", *random_texts(3, 40)]))
    alone = {text: find(classifier, [text])[0] for text in texts}
    rng = random.Random(4)

    for max_tokens in (8, 100, 1000, 10**6):
        company = rng.choices(texts, k=2 * len(texts))
        assert find(classifier, company, max_tokens) == [alone[text] for text in company]


def test_and_the_same_every_time(classifier: Classifier) -> None:
    texts = random_texts(5, 10)

    assert score(classifier, texts) == score(classifier, texts)


def test_and_the_same_from_two_threads_at_once(classifier: Classifier) -> None:
    texts = random_texts(6, 40)
    expected = find(classifier, texts)
    found: dict[int, list[Found]] = {}

    def work(thread: int) -> None:
        for start in range(0, len(texts), 5):
            found.setdefault(thread, []).extend(find(classifier, texts[start : start + 5]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {0: expected, 1: expected}


def test_a_width_is_at_least_the_piece_and_never_shrinks(classifier: Classifier) -> None:
    pieces = [pieces[0] for pieces in classifier.encode([CALM[:length] for length in range(1, len(CALM))])]
    widths = [classifier.width(piece) for piece in sorted(pieces, key=lambda piece: len(piece.tokens))]

    assert all(classifier.width(piece) >= len(piece.tokens) for piece in pieces)
    assert widths == sorted(widths)
    assert len(set(widths)) > 1


def test_a_short_text_is_one_piece(classifier: Classifier) -> None:
    assert [len(pieces) for pieces in classifier.encode([KIND, "a", CALM])] == [1, 1, 1]


def overlap(before: Piece, after: Piece) -> int:
    """How many tokens the end of one piece shares with the beginning of the next, marks at both ends left out."""
    end, beginning = list(before.tokens[1:-1]), list(after.tokens[1:-1])
    return max(size for size in range(len(beginning) + 1) if size == 0 or end[-size:] == beginning[:size])


def test_a_long_text_becomes_pieces_of_one_width_that_overlap(classifier: Classifier) -> None:
    (pieces,) = classifier.encode([" ".join(random_texts(7, 60))])

    assert len(pieces) > 2
    assert len({classifier.width(piece) for piece in pieces[:-1]}) == 1
    assert all(overlap(before, after) >= 32 for before, after in pairwise(pieces))


@pytest.mark.parametrize("before", [0, 3000, 9000])
def test_nothing_hides_behind_a_long_preface(classifier: Classifier, before: int) -> None:
    preface = (CALM * 300)[:before]
    text = f"{preface} {CRUEL}. {CALM * 5}"

    calm, cruel = score(classifier, [preface + CALM * 5, text])

    assert calm["insult"] < 0.3
    assert cruel["insult"] > 0.5


def test_a_text_of_which_nothing_is_left_is_scored(classifier: Classifier) -> None:
    (scores,) = score(classifier, [""])

    assert list(scores) == list(classifier.labels)
    assert max(scores[label] for label in HARM_LABELS) < 0.5


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10_000,
        "🦊" * 10_000,
        "a " * 5_000,
        "\u0301" * 10_000,
        "界" * 10_000,
        " " * 10_000,
        "\0" * 100,
        "</s>[SEP][MASK]",
    ],
    ids=["word", "emoji", "letters", "marks", "ideographs", "spaces", "nul", "special tokens"],
)
def test_any_text_up_to_the_limit_is_scored(classifier: Classifier, text: str) -> None:
    (scores,) = score(classifier, [text])

    assert list(scores) == list(classifier.labels)


def test_a_span_points_at_the_bad_word_and_its_scores_are_in_the_range(shipped: OnnxClassifier) -> None:
    text = "the song is nice but the singer is a stupid idiot"

    (found,) = find(shipped, [text])

    assert "stupid idiot" in [text[span.start : span.end] for span in found.spans]
    assert all(0 < span.score <= 1 for span in found.spans)


def test_a_span_behind_a_long_preface_stands_where_it_stands(shipped: OnnxClassifier) -> None:
    text = CALM * 60 + "you stupid idiot"

    (found,) = find(shipped, [text])

    assert [text[span.start : span.end] for span in found.spans][-1].endswith("stupid idiot")


# ---- combine


def test_one_piece_is_the_text() -> None:
    found = Found({"insult": 0.3, "kindness": 0.2}, (Span(0, 4, "insult", 0.9),))

    assert combine([found]) == found


def test_harm_anywhere_is_harm_and_kindness_has_to_hold_on_average() -> None:
    scores = [{"insult": 0.25, "kindness": 0.75}, {"insult": 0.5, "kindness": 0.25}, {"insult": 0.0, "kindness": 0.5}]

    assert combine([Found(s) for s in scores]).scores == {"insult": 0.5, "kindness": 0.5}


def test_every_label_is_one_or_the_other() -> None:
    pieces = [Found(dict.fromkeys(LABELS, 0.0)), Found(dict.fromkeys(LABELS, 1.0))]

    assert combine(pieces).scores == dict.fromkeys(HARM_LABELS, 1.0) | dict.fromkeys(KIND_LABELS, 0.5)


def test_spans_of_overlapping_pieces_become_one_under_the_name_of_the_surest() -> None:
    first = Found({}, (Span(0, 4, "insult", 0.9), Span(10, 15, "insult", 0.6)))
    second = Found({}, (Span(12, 20, "threat", 0.8), Span(20, 24, "threat", 0.7)))

    assert combine([first, second]).spans == (
        Span(0, 4, "insult", 0.9),
        Span(10, 20, "threat", 0.8),
        Span(20, 24, "threat", 0.7),
    )
