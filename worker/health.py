"""/metrics, /livez and /readyz over HTTP, on loopback unless told otherwise."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from worker.errors import StartupError


class HealthServer:
    """Answers for one worker.

    Args:
        registry: what /metrics shows.
        not_ready: why the worker is not ready, a line each; empty when it is.
    """

    def __init__(self, registry: CollectorRegistry, not_ready: Callable[[], list[str]]) -> None:
        self._registry = registry
        self._not_ready = not_ready
        application = web.Application()
        application.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None)
        self.port = 0
        """The port that it listens on, once started."""

    async def start(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one.

        Raises:
            StartupError: the address cannot be had.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartupError(
                f"SCREENER_HTTP_HOST, SCREENER_HTTP_PORT: cannot listen on {host}:{port}: {error}"
            ) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        # That this runs at all is the answer: the loop turns.
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = self._not_ready()
        return web.Response(text="\n".join(reasons or ["ok"]) + "\n", status=503 if reasons else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})
