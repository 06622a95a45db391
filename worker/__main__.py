"""`python -m worker` is `comment-screener`."""

from worker.cli import app

app(prog_name="comment-screener")
