"""The worker as it is deployed, without torch: `python -m bench.worker_process [instant|instant-detecting]`.

- instant: a classifier and a language detector that answer at once, so that what is measured is the streaming alone.
- instant-detecting: the classifier does, the detector is the shipped one.
"""

import asyncio
import sys

from bench.torchless import hide_torch

hide_torch()

from bench.instant import InstantClassifier, detect_nothing  # noqa: E402  after torch is hidden
from worker import app, cli  # noqa: E402
from worker.logs import configure_logs  # noqa: E402
from worker.settings import load_settings  # noqa: E402


def main() -> None:
    """Run until SIGTERM."""
    kind = sys.argv.pop(1) if sys.argv[1:] else ""
    if not kind:
        cli.app(["run"])
    detect = detect_nothing if kind == "instant" else None
    settings = load_settings()
    configure_logs(settings.log_level)
    asyncio.run(app.Worker(settings, classifier=InstantClassifier(), detect=detect).run())


if __name__ == "__main__":
    main()
