"""Certificates for a broker on loopback and for its clients, made by openssl when a test needs them."""

import subprocess
from pathlib import Path
from typing import Any, Final

_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority of a test's own.

    Args:
        folder: where its files go; made where it is not there.
        name: told apart in messages by it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate = folder / "ca.pem"
        self._key = folder / "ca.key"
        _openssl(
            *("req", "-x509", *_KEY, "-days", "1", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign", "-keyout", self._key, "-out", self.certificate),
        )

    def issue(self, name: str, *, alternative: str = "IP:127.0.0.1", expired: bool = False) -> tuple[Path, Path]:
        """A certificate for a name, with its key: two PEM files.

        Args:
            name: its subject.
            alternative: where it may be used, as openssl writes it.
            expired: valid for one day in the year 2000.
        """
        request, certificate, key = (self._folder / f"{name}.{ending}" for ending in ("csr", "pem", "key"))
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        database = self._folder / f"{name}.database"
        database.write_text("")
        config = self._folder / f"{name}.cnf"
        config.write_text(
            f"[ca]\ndefault_ca=ca\n[ca]\ndatabase={database}\nnew_certs_dir={self._folder}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n"
            f"[extensions]\nsubjectAltName={alternative}\nauthorityKeyIdentifier=keyid\n"
        )
        dates = ("-startdate", "20000101000000Z", "-enddate", "20000102000000Z") if expired else ("-days", "1")
        _openssl(
            *("ca", "-batch", "-notext", "-config", config, "-extensions", "extensions", *dates),
            *("-cert", self.certificate, "-keyfile", self._key, "-in", request, "-out", certificate),
        )
        return certificate, key


def _openssl(*arguments: Any) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
