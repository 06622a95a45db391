"""Sampled stacks → where the time of a comment goes, by layer and by function.

Pure. A sample belongs to the innermost of its frames that is in a layer: what the event loop does for aiokafka is aiokafka's, and
only what it does for nobody is its own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

LAYERS: Final[dict[str, tuple[str, ...]]] = {
    "aiokafka: fetch, group": ("aiokafka/consumer/",),
    "aiokafka: produce": ("aiokafka/producer/",),
    "aiokafka: wire": ("aiokafka/",),
    "Faust: events, acks, commits": ("faust/", "mode/"),
    "codec": ("worker/codec.py", "worker/records.py", "worker/dead_letters.py"),
    "normalise": ("worker/normalise.py", "worker/obfuscation.py", "worker/words.py"),
    "language": ("worker/language.py", "worker/langid.py", "py3langid/"),
    "policy": ("worker/policy.py", "worker/shedding.py"),
    "publish": ("worker/publisher.py", "worker/partitioning.py", "worker/backoff.py"),
    "metrics": (
        *(f"worker/{name}.py" for name in ("metrics", "histogram", "lag", "health", "vitals", "watchdog")),
        "prometheus_client/",
    ),
    "screening": (
        *(
            f"worker/{name}.py"
            for name in ("screening", "scores", "batching", "pieces", "runs", "classifier", "outputs", "tokenizer")
        ),
        "bench/",
    ),
    "queue, windows, watermark": ("worker/",),
}
LOOP: Final = "event loop, threads, Cython"
"""What Cython does in Faust's streams cannot be seen: it looks like the loop that called it."""
THREADS: Final = {"screening": "concurrent/futures/thread.py", "Faust's consumer": "mode/threads.py"}
_MAIN: Final = "event loop"
_OUTERMOST: Final = ("bench/worker_process.py", "worker/cli.py", "worker/app.py")
"""Everything stands on these: they are nobody's work."""


def read_stacks(raw: str) -> list[tuple[list[str], int]]:
    """Collapsed stacks, `outermost (file:1);innermost (file:2) 12` a line → frames and samples."""
    stacks = []
    for line in raw.splitlines():
        frames, _, samples = line.rpartition(" ")
        if frames and samples.isdecimal():
            stacks.append((frames.split(";"), int(samples)))
    return stacks


def by_layer(stacks: Iterable[tuple[list[str], int]]) -> Counter[str]:
    """Samples of each layer."""
    counts: Counter[str] = Counter()
    for frames, samples in stacks:
        counts[_layer(frames)] += samples
    return counts


def by_function(stacks: Iterable[tuple[list[str], int]]) -> Counter[str]:
    """Samples of each function itself, without what it calls; its line left out."""
    counts: Counter[str] = Counter()
    for frames, samples in stacks:
        counts[_without_line(frames[-1])] += samples
    return counts


def by_call(stacks: Iterable[tuple[list[str], int]]) -> Counter[str]:
    """Samples of each function of a layer, with all that it calls."""
    counts: Counter[str] = Counter()
    for frames, samples in stacks:
        for function in {_without_line(frame) for frame in frames if _of_a_layer(_file(frame))}:
            counts[function] += samples
    return counts


def by_thread(stacks: Iterable[tuple[list[str], int]]) -> Counter[str]:
    """Samples of each kind of thread."""
    counts: Counter[str] = Counter()
    for frames, samples in stacks:
        files = {_file(frame) for frame in frames}
        counts[next((name for name, file in THREADS.items() if file in files), _MAIN)] += samples
    return counts


def _layer(frames: list[str]) -> str:
    for frame in reversed(frames):
        if (layer := _of_a_layer(_file(frame))) is not None:
            return layer
    return LOOP


def _of_a_layer(file: str) -> str | None:
    if file.startswith(_OUTERMOST):
        return None
    return next((layer for layer, prefixes in LAYERS.items() if file.startswith(prefixes)), None)


def _file(frame: str) -> str:
    """Of `function (file:12)`, from its package on."""
    path = frame.rpartition("(")[2].rstrip(")").rpartition(":")[0]
    return path.rpartition("site-packages/")[2].removeprefix("./")


def _without_line(frame: str) -> str:
    function, _, _ = frame.rpartition(" (")
    return f"{function} ({_file(frame)})"
