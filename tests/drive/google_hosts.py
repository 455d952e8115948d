"""Google's hosts on this machine: a proxy that answers for them with a certificate of its own."""

from __future__ import annotations

import contextlib
import datetime
import select
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cli.demo.drive_standin import DriveServer
from cli.demo.drive_standin.identity import LOOPBACK_ONLY

HOSTS = ("iamcredentials.googleapis.com", "oauth2.googleapis.com")


@contextlib.contextmanager
def google_hosts(server: DriveServer, directory: Path) -> Iterator[dict[str, str]]:
    """Send requests for Google's hosts to ``server``; yields the environment for that."""
    certificate = _certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with _Proxy(context, ("127.0.0.1", server.server_address[1])) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        port = proxy.server_address[1]
        yield {
            **LOOPBACK_ONLY,
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), f"http://127.0.0.1:{port}"),
            "REQUESTS_CA_BUNDLE": str(certificate),
        }
        proxy.shutdown()
        thread.join()


class _Proxy(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, target: tuple[str, int]) -> None:
        self.context, self.target = context, target
        super().__init__(("127.0.0.1", 0), _Tunnel)


class _Tunnel(socketserver.StreamRequestHandler):
    """Answers CONNECT for Google's hosts alone; anything else would leave the machine."""

    server: _Proxy

    def handle(self) -> None:
        host = self.rfile.readline().split()[1].decode().partition(":")[0]
        while self.rfile.readline().strip():
            pass
        if host not in HOSTS:
            self.wfile.write(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with (
            contextlib.suppress(OSError),
            self.server.context.wrap_socket(self.connection, server_side=True) as client,
            socket.create_connection(self.server.target) as target,
        ):
            _join(client, target)


def _join(client: ssl.SSLSocket, target: socket.socket) -> None:
    while True:
        ready = [client] if client.pending() else select.select([client, target], [], [])[0]
        for end in ready:
            data = end.recv(65536)
            if not data:
                return
            (target if end is client else client).sendall(data)


def _certificate(directory: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in HOSTS]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "hosts.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
