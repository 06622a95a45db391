"""What ranks languages: py3langid's model, which comes in its wheel (4.6 MB; nothing is downloaded).

Only the composition root imports this. Chosen by measurement over fastText's lid.176, CLD2, Lingua and simplemma (README,
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
_ALONE_FROM: Final = 1024
"""Bytes. A long text would walk most of its way without company, and that is slower in numpy than in Python."""


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
        self._weights = np.ascontiguousarray(identifier.nb_ptc)
        self._bias = np.asarray(identifier.nb_pc, np.float32)
        # A language that is written in two scripts has a column for each.
        self._languages = list(dict.fromkeys(identifier.nb_classes))
        self._columns = [
            [at for at, name in enumerate(identifier.nb_classes) if name == language] for language in self._languages
        ]
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
        by_language = np.stack([likely[:, columns].sum(1) for columns in self._columns], axis=1)
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
        """The features of each text."""
        passed: list[Any] = [None] * len(texts)
        together = []
        for at, text in enumerate(texts):
            if len(text) < _ALONE_FROM:
                together.append(at)
            else:
                passed[at] = self._walk_alone(text)
        together.sort(key=lambda at: -len(texts[at]))
        for at, features in zip(together, self._walk_together([texts[at] for at in together]), strict=True):
            passed[at] = features
        return passed

    def _walk_together(self, texts: Sequence[bytes]) -> list[Any]:
        """Texts in falling length: at each step the first so many still have a byte to read."""
        if not texts:
            return []
        lengths = np.array([len(text) for text in texts])
        letters = np.zeros((lengths[0], len(texts)), np.uint8)
        for at, text in enumerate(texts):
            letters[: len(text), at] = np.frombuffer(text, np.uint8)
        walking = len(texts) - np.searchsorted(lengths[::-1], np.arange(lengths[0]), "right")
        passed = np.empty(letters.shape, np.int32)
        state = np.zeros(len(texts), np.int64)
        for step, count in enumerate(walking.tolist()):
            state = self._next[self._row[state[:count]] + letters[step, :count]]
            passed[step, :count] = self._feature[state]
        return [_found(passed[:length, at]) for at, length in enumerate(lengths.tolist())]

    def _walk_alone(self, text: bytes) -> Any:
        following, row, feature = self._next, self._row, self._feature
        state, passed = 0, []
        for byte in text:
            state = following[row[state] + byte]
            passed.append(feature[state])
        return _found(np.array(passed))


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
