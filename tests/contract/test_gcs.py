"""What Cloud Storage's adapter promises beyond its port: lost answers, damage, signatures."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from google.auth import iam
from google.auth.compute_engine import _metadata

from shared.adapters.google import storage as gcs
from shared.adapters.google.storage import CHUNK, GCSStorage
from shared.core.errors import ConfigurationError, TransientError, is_transient
from tests.emulators import fake_gcs_server, free_port, make_bucket
from tests.proxy import Proxy, answer_lost, proxy_to

EMAIL = "worker@project.iam.gserviceaccount.com"
OURS = {"key": "drive-a-1"}


@pytest.fixture
def storage(gcs_bucket: str) -> GCSStorage:
    return GCSStorage(gcs_bucket)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(bytes(2 * CHUNK) + b"the end")
    return path


# ── answers that are lost ──


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with proxy_to(free_port()) as running:
        yield running


@pytest.fixture
def direct(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GCSStorage]:
    """A bucket of its own server, whose uploads go by way of the proxy."""
    with fake_gcs_server(tmp_path / "log", port=proxy.target, seen_at=proxy.port) as port:
        address = f"http://127.0.0.1:{port}"
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        storage = GCSStorage(make_bucket(address))
        storage.check()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{proxy.address}")
        yield storage


@pytest.fixture
def through(direct: GCSStorage) -> GCSStorage:
    return GCSStorage(direct.bucket)


def test_a_small_create_whose_answer_is_lost_is_success(
    direct: GCSStorage, through: GCSStorage, proxy: Proxy
) -> None:
    with answer_lost(proxy, lambda: direct.stat("a") is not None, trigger=b"POST "):
        made = through.put("a", b"x", content_type="text/plain", metadata=OURS, if_generation=0)
    assert made == direct.stat("a")


@pytest.mark.parametrize("generation", [0, None])
def test_a_large_one_whose_last_answer_is_lost_is_success(
    direct: GCSStorage, through: GCSStorage, proxy: Proxy, large: Path, generation: int | None
) -> None:
    with answer_lost(proxy, lambda: direct.stat("a") is not None, trigger=b"PUT ", nth=3):
        made = through.put(
            "a", large, content_type="audio/mpeg", metadata=OURS, if_generation=generation
        )
    assert made == direct.stat("a")
    assert made.bytes == large.stat().st_size


def test_a_chunk_whose_answer_is_lost_is_sent_again(
    direct: GCSStorage, through: GCSStorage, proxy: Proxy, large: Path
) -> None:
    proxy.hold(b"PUT ", nth=2)
    proxy.cut()
    through.put("a", large, content_type="audio/mpeg", metadata=OURS, if_generation=0)
    assert direct.open("a").read() == large.read_bytes()


# ── whole or not at all ──


@pytest.mark.parametrize("size", ["small", "large"])
def test_damaged_bytes_never_become_an_object(
    direct: GCSStorage, through: GCSStorage, proxy: Proxy, large: Path, size: str
) -> None:
    proxy.damage(b"the end", b"THE END")
    content = large if size == "large" else b"to the end"
    with pytest.raises(Exception, match=r"(?i)checksum|crc32c|damaged"):
        through.put("a", content, content_type="audio/mpeg", if_generation=0)
    assert direct.stat("a") is None


def test_a_file_that_changes_while_it_is_sent_never_becomes_an_object(
    storage: GCSStorage, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "_checksum", lambda _: "AAAAAA==")  # of what it was before
    for content in (b"x", large):
        with pytest.raises(Exception, match=r"AAAAAA==|400"):
            storage.put("a", content, content_type="audio/mpeg", if_generation=0)
        assert storage.stat("a") is None


def test_an_upload_that_stops_leaves_nothing(direct: GCSStorage, proxy: Proxy, large: Path) -> None:
    through = GCSStorage(direct.bucket, deadline_s=0.5, timeout_s=0.5)
    proxy.hold(b"PUT ", nth=2)
    with pytest.raises(Exception) as caught:
        through.put("a", large, content_type="audio/mpeg", metadata=OURS, if_generation=0)
    assert is_transient(caught.value)
    assert direct.stat("a") is None


# ── reading ──


def test_a_large_object_is_read_by_parts(storage: GCSStorage, large: Path) -> None:
    storage.put("a", large, content_type="audio/mpeg")
    with storage.open("a") as stream:
        assert stream.read(3) == bytes(3)
        stream.seek(-7, os.SEEK_END)
        assert stream.read(100) == b"the end"
        assert stream.read(1) == b""
        stream.seek(2 * CHUNK - 1)
        assert stream.read(4) == b"\0the"


def test_an_object_replaced_while_it_is_read_is_not_mixed(storage: GCSStorage, large: Path) -> None:
    storage.put("a", large, content_type="audio/mpeg")
    with storage.open("a") as stream:
        stream.read(1)
        storage.put("a", b"other", content_type="audio/mpeg")
        stream.seek(2 * CHUNK)
        with pytest.raises(TransientError):
            stream.read(1)


def test_a_client_made_before_a_fork_is_not_shared_with_the_child(gcs_bucket: str) -> None:
    """In a process of its own: threads of the test runner would not survive a fork."""
    code = """
import os, sys
from shared.adapters.google.storage import GCSStorage
storage = GCSStorage(sys.argv[1])
storage.check()
pid = os.fork()
name = "parent" if pid else "child"
for number in range(50):
    storage.put(name, name.encode() * number, content_type="text/plain")
    assert storage.open(name).read() == name.encode() * number
if pid:
    assert os.waitpid(pid, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code, gcs_bucket], check=True, timeout=60)


# ── addresses ──


def test_the_emulators_address_plays_the_object(storage: GCSStorage) -> None:
    name = "dev/2025/04/会議 & more_audio.mp3"
    storage.put(name, b"sound", content_type="audio/mpeg")
    address = storage.signed_url(name, timedelta(hours=1))
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert answer.read() == b"sound"
        assert answer.headers["Content-Type"] == "audio/mpeg"


class _Google(BaseHTTPRequestHandler):
    """The metadata server and signBlob, as a worker on Cloud Run sees them."""

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signed: list[bytes]
    scopes: list[str]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.endswith("/token"):
            self.server.scopes.append(query)  # type: ignore[attr-defined]
            token = {"access_token": "token", "expires_in": 3600, "token_type": "Bearer"}
            self._answer(json.dumps(token))
        elif path.endswith("/service-accounts/default/"):
            self._answer(json.dumps({"email": EMAIL, "scopes": [], "aliases": ["default"]}))
        else:
            self._answer("project" if "project-id" in path else "", "application/text")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != "Bearer token" or EMAIL not in self.path:
            self.send_error(403)
            return
        message = base64.b64decode(body["payload"])
        self.server.signed.append(message)  # type: ignore[attr-defined]
        signature = self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        self._answer(json.dumps({"signedBlob": base64.b64encode(signature).decode()}))

    def _answer(self, text: str, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Google)
    server.signed, server.scopes = [], []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    for name in ("STORAGE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("GCE_METADATA_IP", address)
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", address)
    monkeypatch.setattr(
        iam, "_IAM_SIGN_ENDPOINT", f"http://{address}/v1/projects/-/serviceAccounts/{{}}:signBlob"
    )
    yield server
    server.shutdown()
    server.server_close()


def test_an_address_is_signed_without_a_key(google: ThreadingHTTPServer) -> None:
    address = GCSStorage("bucket").signed_url("dev/会議.mp3", timedelta(days=7))
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query))
    signature = bytes.fromhex(query.pop("X-Goog-Signature"))
    assert parts.netloc == "storage.googleapis.com"
    assert parts.path == "/bucket/dev/" + quote("会議.mp3")
    assert query["X-Goog-Expires"] == "604800"
    assert query["X-Goog-Credential"].startswith(EMAIL + "/")
    signed = string_to_sign(parts.path, query)
    _Google.key.public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
    assert google.signed == [signed]  # type: ignore[attr-defined]
    # With the storage scopes alone, IAM would refuse to sign.
    assert all("cloud-platform" in scopes for scopes in google.scopes)  # type: ignore[attr-defined]


def string_to_sign(path: str, query: dict[str, str]) -> bytes:
    """Build what is signed, from Cloud Storage's "V4 signing process" alone."""
    encoded = "&".join(
        f"{quote(n, safe='~')}={quote(v, safe='~')}" for n, v in sorted(query.items())
    )
    host = "host:storage.googleapis.com\n"
    request = "\n".join(["GET", path, encoded, host, "host", "UNSIGNED-PAYLOAD"])
    scope = query["X-Goog-Credential"].partition("/")[2]
    digest = hashlib.sha256(request.encode()).hexdigest()
    return "\n".join(["GOOG4-RSA-SHA256", query["X-Goog-Date"], scope, digest]).encode()


def test_a_person_cannot_sign() -> None:
    from google.oauth2.credentials import Credentials

    storage = GCSStorage("bucket", credentials=Credentials("token"))  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigurationError, match="service account"):
        storage.signed_url("a", timedelta(hours=1))


@pytest.mark.parametrize("lifetime", [timedelta(days=7, seconds=1), timedelta(0), timedelta(-1)])
def test_no_address_lives_longer_than_a_week(storage: GCSStorage, lifetime: timedelta) -> None:
    with pytest.raises(ValueError, match="7 days"):
        storage.signed_url("a", lifetime)


def test_a_bucket_that_is_not_there_is_found_out(gcs_bucket: str) -> None:
    with pytest.raises(Exception, match="404"):
        GCSStorage(gcs_bucket + "-not").check()
