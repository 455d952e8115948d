"""Refusals in the shape of Google's REST APIs."""

from __future__ import annotations

from typing import Any

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    412: "FAILED_PRECONDITION",
    501: "UNIMPLEMENTED",
}

#: What an operation has in place of an HTTP status (google.rpc.Code).
_RPC = {400: 3, 403: 7, 404: 5, 409: 6, 412: 9}


class ApiError(Exception):
    """An answer of ``code``, with the message and status that the real API gives."""

    def __init__(
        self, code: int, message: str, status: str = "", details: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS[code]
        self.details = details or []

    def body(self) -> dict[str, Any]:
        """Return the JSON of an HTTP answer."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "status": self.status,
                "details": self.details,
                "errors": [
                    {"message": self.message, "reason": self.status, "domain": "global"},
                ],
            }
        }

    def rpc(self) -> dict[str, Any]:
        """Return the JSON of a failed operation's ``error``."""
        return {"code": _RPC.get(self.code, 13), "message": self.message}


def invalid(message: str) -> ApiError:
    """Return an API's error for an argument that it cannot use."""
    return ApiError(400, message)


def not_found(what: str) -> ApiError:
    """Return an API's error for a missing resource."""
    return ApiError(404, f"Resource not found: {what}")


def exists(what: str) -> ApiError:
    """Return an API's error for a name that is taken."""
    return ApiError(409, f"Resource '{what}' already exists.")


def disabled(service: str, project: str) -> ApiError:
    """Return every API's error until it is enabled in the project."""
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": service, "consumer": f"projects/{project}"},
    }
    message = f"{service} has not been used in project {project} before or it is disabled."
    return ApiError(403, message, details=[info])


def require(condition: object, message: str) -> None:
    """Refuse with 400 and the message, unless the condition is true."""
    if not condition:
        raise invalid(message)
