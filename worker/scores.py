"""What was found in texts seen before, and which languages they are in.

Comment sections repeat themselves. What is found in a text depends on the text and the model alone, so it is remembered:
bounded, least recently used out first. Keys are keyed digests: no text stays in memory.
"""

from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import Generic, TypeVar

from worker.classifier import Found

Value = TypeVar("Value")


class TextCache(Generic[Value]):
    """A bounded map from normalised text to what follows from it. Thread-safe."""

    def __init__(self, entries: int, model_sha256: str) -> None:
        self._entries = entries
        self._key = bytes.fromhex(model_sha256)
        self._found: OrderedDict[bytes, Value] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found)

    def key(self, text: str) -> bytes:
        """The digest under which what follows from a text is kept; 128 bits, so that two texts never meet."""
        return blake2b(text.encode(), key=self._key, digest_size=16).digest()

    def get(self, key: bytes) -> Value | None:
        with self._lock:
            found = self._found.get(key)
            if found is not None:
                self._found.move_to_end(key)
            return found

    def put(self, key: bytes, found: Value) -> None:
        with self._lock:
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > self._entries:
                self._found.popitem(last=False)


ScoreCache = TextCache[Found]
"""The memory of what the model found."""
