"""Key pairs as Google has them, and a page with their public halves, for tests of tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from flask import Flask
from google.auth import crypt, jwt

from tests.browser.site import served


class Keys:
    """Key pairs of one algorithm, and the page on which their public halves are."""

    def __init__(self, algorithm: str = "RS256") -> None:
        self._algorithm = algorithm
        self.public: dict[str, str] = {}
        self.asked = 0
        self.status = 200

    def add(self, key_id: str) -> crypt.Signer:
        """Make a key pair and publish its public half; returns what signs with it."""
        private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
        if self._algorithm == "ES256":
            private = ec.generate_private_key(ec.SECP256R1())
        else:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.public[key_id] = (
            private.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )
        pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        kind = crypt.EsSigner if self._algorithm == "ES256" else crypt.RSASigner
        return kind.from_string(pem, key_id)

    @contextmanager
    def page(self) -> Iterator[str]:
        """Serve the public halves; yields the address."""
        app = Flask("keys")

        @app.get("/keys")
        def keys() -> Any:
            self.asked += 1
            return self.public, self.status

        with served(app) as url:
            yield f"{url}/keys"


def token(signer: crypt.Signer, claims: dict[str, Any]) -> str:
    """Return a signed token that is valid now, with these claims."""
    now = int(time.time())
    payload = {"iat": now - 5, "exp": now + 600, **claims}
    return bytes(jwt.encode(signer, payload)).decode()  # type: ignore[no-untyped-call]
