"""The dashboard's Flask app."""

from __future__ import annotations

from flask import Flask, Response, jsonify

from functions.dashboard.backend import Backend
from shared.service import health


def create_app(backend: Backend) -> Flask:
    """Return the dashboard over ``backend``: a plain WSGI app."""
    app = Flask(__name__)

    @app.get("/")
    def overview() -> str:
        return "<!doctype html><title>audio-pipeline</title>"

    @app.get("/api/health")
    def api_health() -> tuple[Response, int]:
        state = health.check(backend.checks)
        return jsonify(state), 200 if state["status"] == "ok" else 503

    return app
