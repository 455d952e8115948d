"""Errors in the shape of Google's APIs: a status, a reason, a message, a place."""

from __future__ import annotations

from typing import Any

READONLY = "https://www.googleapis.com/auth/drive.readonly"


class ApiError(Exception):
    """An answer of ``status`` with ``reason`` and ``message`` as Drive words them.

    ``location`` names the parameter or header that is to blame. ``grpc_status`` and
    ``details`` are what Google's newer front end adds to 401 and scope errors.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        domain: str = "global",
        location: str | None = None,
        location_type: str = "parameter",
        grpc_status: str | None = None,
        details: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self._error: dict[str, Any] = {"message": message, "domain": domain, "reason": reason}
        if location:
            self._error |= {"location": location, "locationType": location_type}
        self._more = {"status": grpc_status, "details": details}

    def body(self) -> dict[str, Any]:
        more = {name: value for name, value in self._more.items() if value}
        return {
            "error": {"code": self.status, "message": self.message, "errors": [self._error], **more}
        }


def not_found(file_id: str) -> ApiError:
    """Return Drive's error for a file that is missing, or hidden from this account."""
    return ApiError(404, "notFound", f"File not found: {file_id}.", location="fileId")


def invalid(location: str, message: str = "Invalid Value") -> ApiError:
    """Return Drive's error for an invalid parameter."""
    return ApiError(400, "invalid", message, location=location)


def unauthenticated() -> ApiError:
    """Return Drive's error for a token that is missing, unknown or expired."""
    return ApiError(
        401,
        "authError",
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
        location="Authorization",
        location_type="header",
        grpc_status="UNAUTHENTICATED",
    )


def insufficient_scopes() -> ApiError:
    """Return Drive's error for a token without the required scope."""
    reason = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        "domain": "googleapis.com",
        "metadata": {"service": "drive.googleapis.com"},
    }
    return ApiError(
        403,
        "insufficientPermissions",
        "Request had insufficient authentication scopes.",
        grpc_status="PERMISSION_DENIED",
        details=[reason],
    )


_FAULTS = {
    "userRateLimitExceeded": (403, "User Rate Limit Exceeded.", "usageLimits"),
    "rateLimitExceeded": (429, "Rate Limit Exceeded", "usageLimits"),
    "internalError": (500, "Internal Error", "global"),
    "badGateway": (502, "Bad Gateway", "global"),
    "backendError": (503, "Transient failure", "global"),
}
_BY_STATUS = {status: reason for reason, (status, _, _) in _FAULTS.items()}


def fault(status: int, reason: str | None = None) -> ApiError:
    """Return a transient error, or any other by its status and reason."""
    reason = reason or _BY_STATUS.get(status, "unknown")
    _, message, domain = _FAULTS.get(reason, (status, reason, "global"))
    return ApiError(status, reason, message, domain=domain)
