"""`comment-screener`: every command, each in a file of its own where it is more than a few lines.

Exit codes: 0 done; 1 it had to stop; 2 it cannot run as asked; 70 the watchdog ended it.
"""

import asyncio
import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from worker import cli_dead_letters, cli_policy, cli_topics
from worker.cli_evaluate import evaluate
from worker.cli_screen import screen
from worker.demo import load
from worker.demo import run as demo
from worker.errors import FatalError, OutOfMemory, ScreenerError, StartupError
from worker.logs import configure_logs
from worker.settings import Settings, load_settings


class _Commands(typer.core.TyperGroup):
    """One clear line for every error that the package raises on purpose."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ScreenerError as error:
            typer.echo(f"comment-screener: {error}", err=True)
            raise typer.Exit(2 if isinstance(error, StartupError) else 1) from error


app = typer.Typer(cls=_Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(cli_topics.app, name="topics")
app.add_typer(cli_policy.app, name="policy")
app.add_typer(cli_dead_letters.app, name="dead-letters")
app.command()(screen)
app.command()(evaluate)
app.command(name="load")(load.command)
app.command(name="demo")(demo.command)


@app.command()
def run() -> None:
    """Screen comments from Kafka until SIGTERM. Settings are environment variables: SCREENER_…."""
    settings = load_settings()
    configure_logs(settings.log_level)
    asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    from worker.app import Worker  # noqa: PLC0415  the other commands do not need Faust
    from worker.watchdog import dump_and_exit, print_places  # noqa: PLC0415

    try:
        await Worker(settings).run()
    except StartupError:
        raise
    except (OutOfMemory, MemoryError) as error:
        dump_and_exit(str(error) or "out of memory", error)
    except FatalError as error:
        typer.echo(f"comment-screener: {error}", err=True)
        # A clean exit would wait for tasks and threads that may never end: Faust's, the model's, the consumer's without a broker.
        sys.stderr.flush()
        os._exit(1)
    except Exception as error:  # noqa: BLE001  foreseen by nobody: as above, and its message may quote a comment
        typer.echo(f"comment-screener: {type(error).__name__}", err=True)
        print_places(error)
        sys.stderr.flush()
        os._exit(1)


@app.command(name="settings")
def show_settings(
    *, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object; null: not set.")] = False
) -> None:
    """Print every setting as the worker would take it, secrets as asterisks."""
    effective = {f"SCREENER_{name.upper()}": value for name, value in load_settings().model_dump(mode="json").items()}
    if as_json:
        typer.echo(json.dumps(effective, indent=2))
        return
    for name, value in effective.items():
        typer.echo(f"# {name} is not set" if value is None else f"{name}={value}")


@app.command()
def health() -> None:
    """Ask the worker on this machine whether it is ready: exit 0 or 1."""
    host = os.environ.get("SCREENER_HTTP_HOST") or Settings.model_fields["http_host"].default
    port = os.environ.get("SCREENER_HTTP_PORT") or Settings.model_fields["http_port"].default
    if host in ("0.0.0.0", "::"):  # noqa: S104  where it listens everywhere, it is also here
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"  # noqa: S104
    if ":" in host:
        host = f"[{host}]"
    try:
        # Never by a proxy: the environment may name one, and it cannot know this machine's loopback.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{host}:{port}/readyz", timeout=5) as answer:
            typer.echo(answer.read().decode(), nl=False)
    except urllib.error.HTTPError as error:
        typer.echo(error.read().decode(), nl=False, err=True)
        raise typer.Exit(1) from None
    except (OSError, http.client.HTTPException) as error:
        typer.echo(f"no worker answers on {host}:{port}: {error}", err=True)
        raise typer.Exit(1) from None


@app.command()
def schemas(folder: Annotated[Path, typer.Argument(help="Where to write them.")]) -> None:
    """Write the JSON Schemas of the records."""
    from worker.schemas import json_schemas  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in json_schemas().items():
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(app())
