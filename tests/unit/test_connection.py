"""How the Kafka clients connect, for each protocol; what is missing is said before anything connects."""

import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from worker.connection import broker_urls, client_options, faust_credentials
from worker.errors import StartupError
from worker.settings import Settings

SASL = {"sasl_username": "screener", "sasl_password": SecretStr("hunter2")}


def settings(protocol: str = "PLAINTEXT", **fields: Any) -> Settings:
    return Settings(kafka_bootstrap_servers="a:9092, b:9092", security_protocol=protocol, **fields)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subprocess.run(
        ["openssl", "req", "-x509", *curve, "-nodes", "-subj", "/CN=test", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_plaintext_needs_nothing() -> None:
    assert client_options(settings()) == {
        "bootstrap_servers": "a:9092, b:9092",
        "security_protocol": "PLAINTEXT",
        "ssl_context": None,
    }
    assert faust_credentials(settings()) is None


def test_brokers_as_faust_wants_them() -> None:
    assert broker_urls(settings()) == ["kafka://a:9092", "kafka://b:9092"]


def test_tls_checks_the_broker_against_the_systems_certificates() -> None:
    options = client_options(settings("SSL"))

    assert options["security_protocol"] == "SSL"
    assert (options["ssl_context"].verify_mode, options["ssl_context"].check_hostname) == (ssl.CERT_REQUIRED, True)
    assert faust_credentials(settings("SSL")) is not None


def test_or_against_the_ones_that_are_given(certificate: tuple[Path, Path]) -> None:
    context = client_options(settings("SSL", ssl_ca_file=certificate[0]))["ssl_context"]

    (trusted,) = context.get_ca_certs()
    assert trusted["subject"] == ((("commonName", "test"),),)


def test_mutual_tls(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate

    assert client_options(settings("SSL", ssl_cert_file=cert, ssl_key_file=key))["ssl_context"] is not None


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_sasl(protocol: str, mechanism: str) -> None:
    configured = settings(protocol, sasl_mechanism=mechanism, **SASL)
    options: Any = client_options(configured)
    credentials: Any = faust_credentials(configured)

    assert options["security_protocol"] == protocol
    assert (options["sasl_mechanism"], options["sasl_plain_username"], options["sasl_plain_password"]) == (
        mechanism,
        "screener",
        "hunter2",
    )
    assert (options["ssl_context"] is not None) == (protocol == "SASL_SSL")
    assert (credentials.username, credentials.password, credentials.mechanism.value) == (
        "screener",
        "hunter2",
        mechanism,
    )
    assert credentials.protocol.value == protocol


@pytest.mark.parametrize("given", [{}, {"sasl_username": "screener"}, {"sasl_password": SecretStr("hunter2")}])
@pytest.mark.parametrize("client", [client_options, faust_credentials])
def test_sasl_without_credentials(client: Any, given: dict[str, Any]) -> None:
    expected = (
        "^SCREENER_SECURITY_PROTOCOL=SASL_SSL needs SCREENER_SASL_USERNAME, "
        "and SCREENER_SASL_PASSWORD or SCREENER_SASL_PASSWORD_FILE$"
    )
    with pytest.raises(StartupError, match=expected):
        client(settings("SASL_SSL", **given))


@pytest.mark.parametrize("name", ["ssl_ca_file", "ssl_cert_file"])
@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_certificates_that_do_not_load(tmp_path: Path, name: str, content: str | None) -> None:
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_text(content, "utf-8")

    with pytest.raises(StartupError) as refused:
        client_options(settings("SSL", **{name: file}))
    assert str(refused.value).startswith("TLS: ")
    assert str(refused.value).endswith(": SCREENER_SSL_CA_FILE, SCREENER_SSL_CERT_FILE, SCREENER_SSL_KEY_FILE")
    assert "\n" not in str(refused.value)


def test_a_certificate_without_its_key(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(StartupError, match=r"^TLS: "):
        client_options(settings("SSL", ssl_cert_file=certificate[0]))


@pytest.mark.parametrize("content", ["hunter2", "hunter2\n", "  hunter2\r\n"])
@pytest.mark.parametrize("client", [client_options, faust_credentials])
def test_a_password_from_a_file(tmp_path: Path, client: Any, content: str) -> None:
    file = tmp_path / "password"
    file.write_text(content, "utf-8")
    made = client(settings("SASL_SSL", sasl_username="screener", sasl_password_file=file))

    assert (made["sasl_plain_password"] if isinstance(made, dict) else made.password) == "hunter2"


@pytest.mark.parametrize("client", [client_options, faust_credentials])
async def test_a_token_from_a_file_is_read_anew_each_time(tmp_path: Path, client: Any) -> None:
    file = tmp_path / "token"
    file.write_text("first\n", "utf-8")
    made = client(settings("SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_oauth_token_file=file))
    tokens: Any = made["sasl_oauth_token_provider"] if isinstance(made, dict) else made.oauth_cb

    assert await tokens.token() == "first"
    file.write_text("second\n", "utf-8")
    assert await tokens.token() == "second"


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_tokens_in_both_kinds_of_client(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "token"
    file.write_text("token", "utf-8")
    configured = settings(protocol, sasl_mechanism="OAUTHBEARER", sasl_oauth_token_file=file)
    options, credentials = client_options(configured), faust_credentials(configured)

    assert (options["sasl_mechanism"], options["security_protocol"]) == ("OAUTHBEARER", protocol)
    assert (credentials.mechanism.value, credentials.protocol.value) == ("OAUTHBEARER", protocol)
    assert "sasl_plain_username" not in options


def test_tokens_without_a_file() -> None:
    expected = "^SCREENER_SASL_MECHANISM=OAUTHBEARER needs SCREENER_SASL_OAUTH_TOKEN_FILE$"
    with pytest.raises(StartupError, match=expected):
        client_options(settings("SASL_SSL", sasl_mechanism="OAUTHBEARER"))


@pytest.mark.parametrize("named", ["sasl_password_file", "sasl_oauth_token_file"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file or directory"),
        (b" \n", "empty"),
        (b"hunter\xff2", "not UTF-8"),
        (b"hunter2" * 10_000, "larger than 64 KiB, the most that is read"),
    ],
)
def test_a_secret_that_cannot_be_read_is_not_shown(
    tmp_path: Path, named: str, content: bytes | None, says: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    mechanism = "OAUTHBEARER" if named == "sasl_oauth_token_file" else "PLAIN"

    with pytest.raises(StartupError) as refused:
        client_options(settings("SASL_SSL", sasl_mechanism=mechanism, sasl_username="screener", **{named: file}))
    assert str(refused.value) == f"{file}: {says}"


async def test_a_token_that_went_away_is_something_that_aiokafka_tries_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token", "utf-8")
    options = client_options(settings("SASL_SSL", sasl_mechanism="OAUTHBEARER", sasl_oauth_token_file=file))
    file.unlink()

    with pytest.raises(OSError, match="No such file"):
        await options["sasl_oauth_token_provider"].token()


def test_a_key_under_a_password_is_refused_and_not_asked_about(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-passout", "pass:hunter2", "-out", locked],
        check=True,
        capture_output=True,
    )

    with pytest.raises(StartupError, match=r"^TLS: "):
        client_options(settings("SSL", ssl_cert_file=cert, ssl_key_file=locked))
