"""Errors of the API as RFC 9457 problem documents."""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, json, request

CONTENT_TYPE = "application/problem+json"


class ProblemError(Exception):
    """The request cannot be served; ``detail`` is for people and contains no secret."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        super().__init__(detail)


def response(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return the problem document. ``type`` is left out, which means ``about:blank``."""
    body = {
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path,
    }
    answer = Response(json.dumps(body), status=status, content_type=CONTENT_TYPE)
    answer.headers.extend(headers or {})
    return answer
