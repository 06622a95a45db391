"""Scores of texts seen before.

Comment sections repeat themselves. A text's scores depend on the text and the model alone, so they are remembered: bounded,
least recently used out first. Keys are keyed digests: no text stays in memory.
"""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock

from worker.classifier import Scores


class ScoreCache:
    """A bounded map from normalised text to scores. Thread-safe."""

    def __init__(self, entries: int, model_sha256: str) -> None:
        self._entries = entries
        self._key = bytes.fromhex(model_sha256)
        self._scores: OrderedDict[bytes, Scores] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._scores)

    def key(self, text: str) -> bytes:
        """The digest under which a text's scores are kept; 128 bits, so that two texts never meet."""
        return blake2b(text.encode(), key=self._key, digest_size=16).digest()

    def get(self, key: bytes) -> Scores | None:
        with self._lock:
            scores = self._scores.get(key)
            if scores is not None:
                self._scores.move_to_end(key)
            return scores

    def put(self, key: bytes, scores: Scores) -> None:
        with self._lock:
            self._scores[key] = scores
            self._scores.move_to_end(key)
            while len(self._scores) > self._entries:
                self._scores.popitem(last=False)
