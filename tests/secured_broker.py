"""Apache Kafka with a lock on every door but one: TLS, mutual TLS, SASL, and access control lists.

The door without a lock is the test's own, on loopback: who comes through it may do everything, so that an audit can watch a
worker that may do little.
"""

import base64
import json
import re
import shlex
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.certificates import Authority
from worker.demo.broker import LOOPBACK, Broker, fetch_kafka, free_port, start_kafka

USER: Final = "screener"
PASSWORD: Final = "correct-horse-battery"  # noqa: S105  a password that opens nothing else
LACKING: Final = ("no-comments", "no-decisions", "no-dead-letters", "no-group", "no-transactions")
"""Users with the same password who are to be denied one thing each."""
MUTUAL_PRINCIPAL: Final = "CN=mutual-screener"
_LISTENERS: Final = ("TLS", "MUTUAL", "ELSEWHERE", "EXPIRED", "SASL")
_SASL: Final = ("PLAIN", "SCRAM-SHA-512", "OAUTHBEARER")
_COMMANDS: Final = {
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-configs.sh": "kafka.admin.ConfigCommand",
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
}
_JAVA: Final = ("java", "-Xmx128m", "-XX:TieredStopAtLevel=1")
_COMMAND_TIMEOUT_S: Final = 120.0


class SecuredBroker:
    """One broker and every way into it.

    Attributes:
        open: the way in for the test itself.
        authority: what signed the broker's certificates, and the client's.
        client: certificate and key of a client that is known.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(folder / "authority", "authority")
        self.client = self.authority.issue("mutual-screener")
        ports = {name: free_port() for name in ("BROKER", "CONTROLLER", *_LISTENERS)}
        self._ports = ports
        self.open: Broker = start_kafka(
            folder / "kafka", port=ports["BROKER"], properties=self._properties(folder, ports)
        )
        self.admit(USER)

    def admit(self, user: str) -> None:
        """Let somebody in by SCRAM, with the password of all users; what they may do is another matter."""
        scram = f"SCRAM-SHA-512=[password={PASSWORD}]"
        self.run(f"kafka-configs.sh --alter --add-config {scram} --entity-type users --entity-name {user}")

    def address(self, listener: str) -> str:
        return f"{LOOPBACK}:{self._ports[listener]}"

    def tls(self, listener: str = "TLS", **settings: Any) -> dict[str, Any]:
        """Settings of a worker that comes in there, and trusts the right authority."""
        return {
            "kafka_bootstrap_servers": self.address(listener),
            "security_protocol": "SSL",
            "ssl_ca_file": self.authority.certificate,
        } | settings

    def mutual_tls(self, **settings: Any) -> dict[str, Any]:
        certificate, key = self.client
        return self.tls("MUTUAL", ssl_cert_file=certificate, ssl_key_file=key, **settings)

    def sasl(self, mechanism: str, **settings: Any) -> dict[str, Any]:
        return self.tls("SASL", security_protocol="SASL_SSL", sasl_mechanism=mechanism, **settings)

    def run(self, line: str) -> str:
        """One of Kafka's commands, through the open door, or one that an `echo` is piped into; what it printed."""
        piped, bar, kafkas = line.rpartition(" | ")
        said = f"{' '.join(shlex.split(piped)[1:])}\n" if bar else None
        command, *arguments = shlex.split(re.sub(r"--bootstrap-server \S+", "", kafkas))
        ended = subprocess.run(
            [
                *_JAVA,
                "-cp",
                f"{fetch_kafka()}/*",
                _COMMANDS[command],
                "--bootstrap-server",
                self.open.bootstrap,
                *arguments,
            ],
            input=said,
            capture_output=True,
            text=True,
            timeout=_COMMAND_TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def _properties(self, folder: Path, ports: Mapping[str, int]) -> dict[str, str]:
        def where(names: Any) -> str:
            return ",".join(f"{name}://{LOOPBACK}:{ports[name]}" for name in names)

        properties = {
            "controller.quorum.voters": f"1@{LOOPBACK}:{ports['CONTROLLER']}",
            "listeners": where(ports),
            "advertised.listeners": where(name for name in ports if name != "CONTROLLER"),
            "listener.security.protocol.map": (
                "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,TLS:SSL,MUTUAL:SSL,ELSEWHERE:SSL,EXPIRED:SSL,SASL:SASL_SSL"
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        broker = self.authority.issue("broker")
        for listener, certificate in {
            "TLS": broker,
            "MUTUAL": broker,
            "SASL": broker,
            "ELSEWHERE": self.authority.issue("elsewhere", alternative="DNS:elsewhere.example"),
            "EXPIRED": self.authority.issue("old", expired=True),
        }.items():
            properties |= _keystore(listener.lower(), folder, certificate, self.authority.certificate)
        users = " ".join(f'user_{user}="{PASSWORD}"' for user in (USER, *LACKING))
        properties["listener.name.mutual.ssl.client.auth"] = "required"
        properties["listener.name.sasl.sasl.enabled.mechanisms"] = ",".join(_SASL)
        for mechanism, module in {
            "plain": f"plain.PlainLoginModule required {users}",
            "scram-sha-512": "scram.ScramLoginModule required",
            "oauthbearer": 'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker"',
        }.items():
            properties[f"listener.name.sasl.{mechanism}.sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.{module};"
            )
        return properties


def token(subject: str = USER, *, lifetime_s: float = 3600.0) -> str:
    """A token as Kafka's validator for tests takes it: a JSON Web Signature that says it has none."""
    now = time.time()
    claims = {"sub": subject, "iat": now - 3600, "exp": now + lifetime_s}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _keystore(listener: str, folder: Path, certificate: tuple[Path, Path], trusted: Path) -> dict[str, str]:
    store = folder / f"{listener}.pem"
    store.touch(mode=0o600)
    store.write_text("".join(file.read_text() for file in reversed(certificate)))
    prefix = f"listener.name.{listener}.ssl."
    return {
        f"{prefix}keystore.type": "PEM",
        f"{prefix}keystore.location": str(store),
        f"{prefix}truststore.type": "PEM",
        f"{prefix}truststore.location": str(trusted),
    }
