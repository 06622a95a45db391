"""How every Kafka client of the worker connects: address, encryption, credentials.

Secrets come from the environment or from files. A password is read once, at start; a token each time that a connection needs
one, because whoever puts it there replaces it before it expires.
"""

import ssl
from pathlib import Path
from typing import Any, Final

from aiokafka.abc import AbstractTokenProvider

from worker.errors import StartupError
from worker.files import read_text
from worker.settings import Settings

_SECRET_BYTES: Final = 64 * 1024
OAUTH: Final = "OAUTHBEARER"
TLS_FILES: Final = "SCREENER_SSL_CA_FILE, SCREENER_SSL_CERT_FILE, SCREENER_SSL_KEY_FILE"


class TokenFile(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka is untyped
    """A token for OAUTHBEARER from a file, read anew for each connection. Has no state: Faust asks from another thread.

    Args:
        path: the file; white space around the token does not count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        """The token. Raises StartupError where there is none."""
        return _read_secret(self._path)

    async def token(self) -> str:
        """The token, for aiokafka, which tries again after an OSError and after nothing else that could come of this."""
        try:
            return self.read()
        except StartupError as error:
            raise OSError(str(error)) from error


def client_options(settings: Settings) -> dict[str, Any]:
    """What aiokafka's clients take. It holds the password: not for logs.

    Raises:
        StartupError: certificates that do not load, credentials that are not there.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.security_protocol,
        "ssl_context": _ssl_context(settings),
    }
    if _uses_tokens(settings):
        options |= {"sasl_mechanism": OAUTH, "sasl_oauth_token_provider": _tokens(settings)}
    elif settings.security_protocol.startswith("SASL"):
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
    if _uses_tokens(settings):
        return faust.OAuthCredentials(oauth_cb=_tokens(settings), ssl_context=context)
    if settings.security_protocol.startswith("SASL"):
        username, password = _sasl(settings)
        return faust.SASLCredentials(
            username=username, password=password, mechanism=settings.sasl_mechanism, ssl_context=context
        )
    return None if context is None else faust.SSLCredentials(context=context)


def broker_urls(settings: Settings) -> list[str]:
    """The brokers as Faust wants them."""
    return [f"kafka://{server.strip()}" for server in settings.kafka_bootstrap_servers.split(",")]


def _uses_tokens(settings: Settings) -> bool:
    return settings.security_protocol.startswith("SASL") and settings.sasl_mechanism == OAUTH


def _tokens(settings: Settings) -> TokenFile:
    if settings.sasl_oauth_token_file is None:
        raise StartupError(f"SCREENER_SASL_MECHANISM={OAUTH} needs SCREENER_SASL_OAUTH_TOKEN_FILE")
    tokens = TokenFile(settings.sasl_oauth_token_file)
    tokens.read()
    return tokens


def _sasl(settings: Settings) -> tuple[str, str]:
    if settings.sasl_password_file is not None:
        password = _read_secret(settings.sasl_password_file)
    elif settings.sasl_password is not None:
        password = settings.sasl_password.get_secret_value()
    else:
        password = ""
    if settings.sasl_username is None or not password:
        raise StartupError(
            f"SCREENER_SECURITY_PROTOCOL={settings.security_protocol} needs SCREENER_SASL_USERNAME, "
            "and SCREENER_SASL_PASSWORD or SCREENER_SASL_PASSWORD_FILE"
        )
    return settings.sasl_username, password


def _read_secret(path: Path) -> str:
    """What a file holds, without the line end that editors leave. The message of an error says nothing of it."""
    if secret := read_text(path, _SECRET_BYTES).strip():
        return secret
    raise StartupError(f"{path}: empty")


def _ssl_context(settings: Settings) -> ssl.SSLContext | None:
    if not settings.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ssl_ca_file)
        if settings.ssl_cert_file is not None:
            # Without a password OpenSSL would ask for one, and wait, on the terminal.
            context.load_cert_chain(settings.ssl_cert_file, settings.ssl_key_file, password="")
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"TLS: {error}: {TLS_FILES}") from error
    return context
