"""Keeps the browser from asking another host for anything: gradio's page names some, for fonts and a script."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"
FOREIGN = re.compile(rb"""<link\b[^>]*\bhref=["']https?://[^>]*>|<script\b[^>]*\bsrc=["']https?://[^>]*>\s*</script>""")


class OwnHostOnly:
    """ASGI middleware. A content security policy forbids what a page would fetch elsewhere; what says "connect to that
    host already", which no policy forbids, is taken out of the page's text."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: list[Message] = []  # the start of a page, until all of its text is there
        text = bytearray()

        async def filtered(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], (b"content-security-policy", POLICY)]
                kind = next((value for name, value in headers if name.lower() == b"content-type"), b"")
                if not kind.startswith(b"text/html"):
                    await send({**message, "headers": headers})
                    return
                held.append({**message, "headers": [one for one in headers if one[0].lower() != b"content-length"]})
            elif not held:
                await send(message)
            else:
                text.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    body = FOREIGN.sub(b"", bytes(text))
                    start = held.pop()
                    start["headers"].append((b"content-length", str(len(body)).encode()))
                    await send(start)
                    await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, filtered)
