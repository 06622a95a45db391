"""What ranks languages: py3langid's model, which comes in its wheel (4.6 MB; nothing is downloaded).

Only `worker.loading` imports this. Chosen by measurement over fastText's lid.176, CLD2, Lingua and simplemma (README,
design decisions). The model is the library's, and so is the arithmetic; but the library walks one text, a byte at a time, in
Python, and that would cost a tenth of what the classifier does. Here a window's texts walk side by side, in numpy.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from worker.errors import StartupError
from worker.language import Detector, Rank, Ranked

# Of the 140 that it knows, those that many people write. With the dialects and small neighbours of the others in it, a
# short Spanish or Portuguese text is spread over so many that none of them is likely.
LANGUAGES: Final = (  # noqa: SIM905  as a list it would be a line a language
    "af am ar az be bg bn bs ca cs cy da de el en es et eu fa fi fr ga gl gu ha he hi hr ht hu hy id is it ja ka kk km kn ko "
    "ku ky lt lv mk ml mn mr ms mt my ne nl no pa pl ps pt ro ru si sk sl so sq sr sv sw ta te tg th tl tr tt uk ur uz vi yo "
    "zh zu"
).split()
_ENGLISH: Final = "en"
_COMPANY: Final = 8
"""Texts. With fewer of them side by side numpy is slower than Python."""
_TOGETHER: Final = 1024
"""Bytes of each that are walked side by side at most: a bound on the memory for it."""


class Ranking:
    """The model: an automaton that reads bytes and names features, and what each feature says of each language.

    Args:
        identifier: told which languages there are.
    """

    def __init__(self, identifier: LanguageIdentifier) -> None:
        # Its own arrays and no reference to it: it keeps all languages, and lists of numbers for its walk.
        self._next = np.frombuffer(identifier.tk_nextmove, np.dtype(identifier.tk_nextmove.typecode))
        self._row = np.frombuffer(identifier.tk_row, np.dtype(identifier.tk_row.typecode)).astype(np.int32) << 8
        self._feature = np.asarray(identifier.tk_output, np.int32)
        # Numbers of Python's own come out of these, and twice as fast, where one at a time is asked for.
        self._one_by_one = self._next.data, self._row.data, self._feature.data
        self._weights = np.ascontiguousarray(identifier.nb_ptc)
        self._bias = np.asarray(identifier.nb_pc, np.float32)
        # A language that is written in two scripts has a column for each: its first one, and more of the same.
        classes = identifier.nb_classes
        self._languages = list(dict.fromkeys(classes))
        self._first = [classes.index(language) for language in self._languages]
        self._more = [(self._languages.index(name), at) for at, name in enumerate(classes) if classes.index(name) != at]
        self._english = self._languages.index(_ENGLISH)

    def rank(self, texts: Sequence[str]) -> list[Ranked]:
        """The likeliest language of each text, which depends on that text alone. Pure and thread-safe."""
        if not texts:
            return []
        encoded = [_encode(text) for text in texts]
        logits = np.stack([self._score(features) for features in self._walk(encoded)])
        # The longer the text, the surer the sum of its features: this keeps it honest.
        logits /= np.sqrt([max(1, len(text)) for text in encoded])[:, None]
        likely = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        by_language = likely[:, self._first]
        for language, column in self._more:
            by_language[:, language] += likely[:, column]
        return [
            Ranked(float(row[self._english]), self._languages[best], float(row[best]))
            for row, best in zip(by_language, by_language.argmax(1).tolist(), strict=True)
        ]

    def _score(self, features: Any) -> Any:
        """Per column of the model, how a text's features add up. Nothing found says nothing of any."""
        if not len(features):
            return np.zeros_like(self._bias)
        found, counts = np.unique(features, return_counts=True)
        return np.log1p(counts.astype(np.float32)) @ self._weights[found].astype(np.float32) + self._bias

    def _walk(self, texts: Sequence[bytes]) -> list[Any]:
        """The features of each text: side by side while there is company, and then each on its own."""
        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        steps = min(_TOGETHER, len(texts[order[_COMPANY - 1]])) if len(texts) >= _COMPANY else 0
        states, passed = self._walk_together([texts[at][:steps] for at in order], steps)
        found: list[Any] = [None] * len(texts)
        for place, at in enumerate(order):
            alone = self._walk_alone(texts[at][steps:], int(states[place]))
            found[at] = _found(np.concatenate((passed[: len(texts[at]), place], alone)))
        return found

    def _walk_together(self, texts: Sequence[bytes], steps: int) -> tuple[Any, Any]:
        """Texts in falling length: at each step the first so many still have a byte to read.

        Returns:
            Where each has ended, and per step and text what it passed; of one that is shorter, only the steps that it has count.
        """
        letters = np.zeros((steps, len(texts)), np.uint8)
        for place, text in enumerate(texts):
            letters[: len(text), place] = np.frombuffer(text, np.uint8)
        lengths = np.array([len(text) for text in texts])
        walking = len(texts) - np.searchsorted(lengths[::-1], np.arange(steps), "right")
        passed = np.empty(letters.shape, np.int32)
        states = np.zeros(len(texts), np.int64)
        for step, count in enumerate(walking.tolist()):
            states[:count] = self._next[self._row[states[:count]] + letters[step, :count]]
            passed[step, :count] = self._feature[states[:count]]
        return states, passed

    def _walk_alone(self, text: bytes, state: int) -> Any:
        following, row, feature = self._one_by_one
        passed = []
        for byte in text:
            state = following[row[state] + byte]
            passed.append(feature[state])
        return np.array(passed, np.int32)


def _found(features: Any) -> Any:
    return features[features >= 0]


def _encode(text: str) -> bytes:
    """As the library does it, and did when the model was trained."""
    return unicodedata.normalize("NFC", text.lower() if text.isupper() else text).encode(errors="surrogatepass")


def open_ranking() -> Rank:
    """Load the model, which takes half a second and some 60 MB.

    Raises:
        StartupError: it does not load.
    """
    try:
        identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
        identifier.set_languages(LANGUAGES)
        return Ranking(identifier).rank
    except Exception as error:
        raise StartupError(f"the language detector's model does not load: {error}") from error


def open_detector() -> Detector:
    """The detector as the worker uses it. Errors as in `open_ranking`."""
    return Detector(open_ranking())
