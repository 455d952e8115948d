"""Drive's rules for a channel's id, address and expiration in ``changes.watch``."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from cli.demo.drive_standin.errors import ApiError
from cli.demo.drive_standin.notify import PushChannel
from cli.demo.drive_standin.request import Request

DEFAULT_CHANNEL_S = 3600
MAX_CHANNEL_S = 7 * 24 * 3600


def open_channel(request: Request, drive_id: str) -> PushChannel:
    """Return the channel that the request asks for; raises ``ApiError`` 400."""
    body = request.body
    if body.get("type") not in ("web_hook", "webhook"):
        raise _refused("Invalid channel type")
    if not body.get("id") or len(str(body["id"])) > 64 or len(str(body.get("token", ""))) > 256:
        raise _refused("Invalid channel id or token")
    address = body.get("address", "")
    # Drive takes https alone; loopback is where tests listen.
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        message = f"WebHook callback must be HTTPS: {address}"
        raise ApiError(400, "push.webhookUrlNotHttps", message)
    return PushChannel(
        id=body["id"],
        token=body.get("token", ""),
        address=body["address"],
        account=request.account,
        drive_id=drive_id,
        all_drives=bool(request["includeItemsFromAllDrives"] and request["supportsAllDrives"]),
        expiration=_expiration(body.get("expiration")),
        resource_uri=f"{request.base}changes?alt=json&pageToken={request['pageToken']}",
    )


def _refused(message: str) -> ApiError:
    return ApiError(400, "invalid", message, domain="push")


def _expiration(text: str | None) -> int:
    now_ms = int(time.time() * 1000)
    if text is None:
        return now_ms + DEFAULT_CHANNEL_S * 1000
    if not str(text).isdigit() or int(text) <= now_ms:
        raise _refused("Invalid expiration")
    return min(int(text), now_ms + MAX_CHANNEL_S * 1000)
