"""The child process in which the real Kaggle client lives: `python -P kaggle_worker.py PARENT`.

The client authenticates while it is imported, prints, calls `exit` and waits for ever on a silent server. Here it can
do none of that to us: what it prints goes nowhere, and whoever asks may kill this process at any time. It dies with its
parent. One JSON object a line comes in (`service`, `client`, `method`, `request`), one goes out (`answer` or `error`).
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

PR_SET_PDEATHSIG = 1
# Not ProxyError: that is also what a proxy gives that passed the request on and then broke off.
NEVER_SENT = ("NewConnectionError", "ConnectTimeoutError", "NameResolutionError", "CERTIFICATE_VERIFY")


def main() -> int:
    """Serve requests until the input ends."""
    die_with_parent()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(quiet, stream)
    for name in ("VERBOSE", "VERBOSE_OUTPUT"):  # with these the client prints its credentials
        os.environ.pop(name, None)

    def send(message: dict[str, object]) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    api, failure = sign_in()
    if failure is not None:
        send({"error": failure})
        return 0
    hide = redactor(api)
    send({"answer": {"username": api.config_values.get("username")}})
    for line in sys.stdin:
        for message in serve(api, json.loads(line), hide):
            send(message)
    return 0


def die_with_parent() -> None:
    """No call may outlive the deploy that asked for it: the next one would not know of its effect."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it died before we asked to die with it
        raise SystemExit(1)


def sign_in() -> tuple[Any, dict[str, object] | None]:
    """The authenticated client, or what went wrong."""
    try:
        import kaggle

        api = kaggle.api
        if not api._authenticated:  # the import swallows every error of its own attempt
            api.authenticate()
    except SystemExit:
        return None, {"kind": "credentials", "code": 0, "message": "no valid credentials"}
    except Exception as error:  # reported, whatever it is: the parent decides
        return None, describe(error)
    return api, None


def serve(api: Any, call: dict[str, Any], hide: Callable[[str], str]) -> Iterator[dict[str, object]]:
    """The messages that answer one request."""
    try:
        if call["method"] == "stream_log":
            for event in api.kernels_logs_stream(call["request"]["kernel"]):
                yield {"event": event}
            yield {"answer": {}}
            return
        with api.build_kaggle_client() as kaggle:
            method = getattr(getattr(getattr(kaggle, call["service"]), call["client"]), call["method"])
            answer = method(request_of(method, call["request"]))
        yield {"answer": {} if answer is None else plain(answer)}
    except (Exception, SystemExit) as error:
        failure = describe(error)
        yield {"error": {**failure, "message": hide(str(failure["message"]))}}


def request_of(method: Any, fields: dict[str, object]) -> Any:
    """The client's request object for a method, filled from wire names."""
    return method.__annotations__["request"].from_dict(fields)


def plain(value: Any) -> Any:
    """An answer as JSON with wire names, nothing left out. Spans of time are seconds: the client's own drops days."""
    if hasattr(value, "_fields"):
        return {field.json_name: plain(getattr(value, field.private_field_name)) for field in value._fields}
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


def describe(error: BaseException) -> dict[str, object]:
    """What an error means: `http` (answered, no effect), `unsent`, or `lost` (it may have had its effect)."""
    import requests

    if isinstance(error, requests.HTTPError):
        code, message, after = http_facts(error)
        return {"kind": "http", "code": code, "message": message, "retry_after": after}
    if isinstance(error, requests.ConnectionError) and any(name in repr(error) for name in NEVER_SENT):
        return {"kind": "unsent", "code": 0, "message": type(error).__name__}
    if isinstance(error, (requests.RequestException, ValueError, KeyError, TypeError, AttributeError)):
        return {"kind": "lost", "code": 0, "message": f"no readable answer ({type(error).__name__})"}
    return {"kind": "lost", "code": 0, "message": type(error).__name__}


def http_facts(error: Any) -> tuple[int, str, str | None]:
    """(code, message, Retry-After). The client raises its own error for a code inside an answer of status 200."""
    response = error.response
    code, message = (response.status_code, str(error)) if response is not None else (0, str(error))
    try:
        body = response.json()
        code, message = int(body.get("code") or code), str(body.get("message") or message)
    except (ValueError, AttributeError, TypeError):
        pass
    return code, message, None if response is None else response.headers.get("Retry-After")


def redactor(api: Any) -> Callable[[str], str]:
    """A function that takes the credentials out of a text."""
    values = api.config_values
    secrets = [str(values[name]) for name in ("key", "token", "api_token") if values.get(name)]
    pair = f"{values.get('username')}:{values.get('key')}".encode()
    secrets.append(base64.b64encode(pair).decode())

    def hide(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return hide


if __name__ == "__main__":
    raise SystemExit(main())
