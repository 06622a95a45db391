"""structlog: JSON lines, or colours on a terminal. Never a comment's text."""

import logging
import sys
import time
from collections.abc import Callable

import structlog

from worker.errors import is_about_the_world, where_raised

_QUIET = ("aiokafka", "faust", "mode", "aiohttp", "asyncio", "opentelemetry")

_SAME_AGAIN_S = 10.0


class Repeats(logging.Filter):
    """Lets the same message of a library through once in a while: without its broker, aiokafka says it thousands of times.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        # By the message before its arguments are put in, of which the libraries have a bounded number.
        self._last: dict[tuple[str, object], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.partition(".")[0] not in _QUIET:
            return True
        key, now = (record.name, record.msg), self._clock()
        if now - self._last.get(key, -_SAME_AGAIN_S) < _SAME_AGAIN_S:
            return False
        self._last[key] = now
        return True


class Discretion(logging.Filter):
    """Takes messages of errors out of what libraries log: who knows what was in their hands when they failed.

    Those of the network and of Kafka stay: they are about the world, and say what to do.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(map(_named, record.args))
        if record.name == "asyncio":
            # What follows the first line are the task and its error, as they represent themselves.
            record.msg = str(record.msg).partition("\n")[0]
        return True


def _named(value: object) -> object:
    return type(value).__name__ if isinstance(value, BaseException) and not is_about_the_world(value) else value


def _places(exc_info: structlog.typing.ExcInfo) -> str:
    """An error, and before it what led to it."""
    said = ""
    error: BaseException | None = exc_info[1]
    while error is not None:
        said = where_raised(error) + said
        error = error.__cause__ or error.__context__
    return said.rstrip()


def configure_logs(level: str) -> None:
    """Send our logs and those of the libraries to standard error, in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()] if sys.stderr.isatty() else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_places),
                *renderer,
            ],
        )
    )
    handler.addFilter(Repeats())
    handler.addFilter(Discretion())
    root = logging.getLogger()
    root.handlers = [handler]
    # At debug aiokafka prints what it sends and receives, comments and passwords among it: that level is for us alone.
    root.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    logging.getLogger("worker").setLevel(level.upper())
    # Below warning these tell of every poll and every commit.
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level) if level != "debug" else logging.INFO)
