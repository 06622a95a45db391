"""How every Kafka client of the worker connects: address, encryption, credentials."""

import ssl
from typing import Any

from worker.errors import StartupError
from worker.settings import Settings


def client_options(settings: Settings) -> dict[str, Any]:
    """What aiokafka's clients take.

    Raises:
        StartupError: certificates that do not load, credentials that are not there.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings),
    }
    if settings.security_protocol.startswith("SASL"):
        username, password = _sasl(settings)
        options |= {
            "sasl_mechanism": settings.sasl_mechanism,
            "sasl_plain_username": username,
            "sasl_plain_password": password,
        }
    return options


def faust_credentials(settings: Settings) -> Any:
    """The same for Faust, which has names of its own for it: one of its credentials, or None."""
    import faust  # noqa: PLC0415  takes a second, and most commands do without

    context = _ssl_context(settings)
    if settings.security_protocol.startswith("SASL"):
        username, password = _sasl(settings)
        return faust.SASLCredentials(
            username=username, password=password, mechanism=settings.sasl_mechanism, ssl_context=context
        )
    return None if context is None else faust.SSLCredentials(context=context)


def broker_urls(settings: Settings) -> list[str]:
    """The brokers as Faust wants them."""
    return [f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")]


def _sasl(settings: Settings) -> tuple[str, str]:
    if settings.sasl_username is None or settings.sasl_password is None:
        raise StartupError(
            f"SCREENER_SECURITY_PROTOCOL={settings.security_protocol} "
            "needs SCREENER_SASL_USERNAME and SCREENER_SASL_PASSWORD"
        )
    return settings.sasl_username, settings.sasl_password.get_secret_value()


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        if settings.ssl_cert_file is not None:
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file)
    except (OSError, ssl.SSLError) as error:
        raise StartupError(
            f"TLS: {error}: SCREENER_SSL_CA_FILE, SCREENER_SSL_CERT_FILE, SCREENER_SSL_KEY_FILE"
        ) from error
    return context
