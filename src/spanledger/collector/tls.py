"""Certificates of the listeners, and how new ones take the place of old ones.

Promises: connections under way are not touched; a pair of files that cannot be used leaves the one
in use in place. TLS 1.2 at least. Never copies a key, never shows what is in one.
"""

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from spanledger.errors import StartupError

_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class Files:
    """PEM files. With ``client_ca`` a client must show a certificate that it signed."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class Certificates:
    """One certificate for gRPC and HTTP, renewed when its files change."""

    def __init__(self, files: Files) -> None:
        """Read the files.

        Raises:
            StartupError: one cannot be read, or certificate and key do not belong together.
        """
        self._files = files
        try:
            self._stamp = self._stamps()
            self._configuration = self._read()
            self.for_http = _context(files, asks_for_clients=False)
            self.for_otlp_http = _context(files, asks_for_clients=files.client_ca is not None)
        except (OSError, ssl.SSLError) as error:
            raise StartupError(
                f"cannot use the certificate {files.cert} with the key {files.key}"
                f"{f' and the CA {files.client_ca}' if files.client_ca else ''}: {_cause(error)}",
                hint="Give PEM files that this user may read; the key must belong to the"
                " certificate and have no password",
            ) from None

    def for_grpc(self) -> grpc.ServerCredentials:
        """Credentials that ask for the present certificate at each handshake."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration,
            lambda: self._configuration,
            require_client_authentication=self._files.client_ca is not None,
        )

    def renew(self) -> bool | None:
        """Take changed files into use; None if they are the same, False if they cannot be used."""
        try:
            stamp = self._stamps()
            if stamp == self._stamp:
                return None
            # Tried in a context of its own first: a half-written pair must not break the live one.
            _context(self._files, asks_for_clients=self._files.client_ca is not None)
            configuration = self._read()
            for live in (self.for_http, self.for_otlp_http):
                live.load_cert_chain(self._files.cert, self._files.key, _no_password)
            if self._files.client_ca is not None:
                self.for_otlp_http.load_verify_locations(self._files.client_ca)
        except (OSError, ssl.SSLError) as error:
            _log.warning("the certificate in use stays, the new one is no good: %s", _cause(error))
            return False
        self._configuration, self._stamp = configuration, stamp
        _log.info("a new certificate is in use: %s", self._files.cert)
        return True

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (self._files.key.read_bytes(), self._files.cert.read_bytes())
        ca = self._files.client_ca
        return grpc.ssl_server_certificate_configuration(
            [pair], root_certificates=ca.read_bytes() if ca else None
        )

    def _stamps(self) -> list[tuple[int, int, int]]:
        files = (self._files.cert, self._files.key, self._files.client_ca)
        stats = [path.stat() for path in files if path]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]


def _context(files: Files, *, asks_for_clients: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.cert, files.key, _no_password)
    if asks_for_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(files.client_ca)
    return context


def _no_password() -> str:
    """Without this, a key with a password stops the process to ask on the terminal."""
    return ""


def _cause(error: OSError) -> str:
    return str(error.strerror or error.__class__.__name__)
