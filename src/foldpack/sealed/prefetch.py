"""Prefetch: the next fold's weights are decrypted in the background while the current one predicts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class SealedPrefetch:
    """One load ahead, in one thread, so that at most one fold more than the current one is in memory.

    `load` gets what `start` or `take` was given: a request that compares by value, like a tuple. What `load` raises is
    raised by `take`, never in the background.
    """

    def __init__(self, load: Callable[[Any], Any]) -> None:
        self._load = load
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        self._request: Any = None
        self._future: Future[Any] | None = None

    def start(self, request: Any) -> None:
        """Begin to load. A load begun earlier and never taken is forgotten, and its memory given back."""
        self._forget()
        self._request, self._future = request, self._pool.submit(self._load, request)

    def take(self, request: Any) -> Any:
        """The loaded thing: waits for it when it was started, loads it here and now when another or none was."""
        future = self._future if self._request == request else None
        if future is None:
            self._forget()
            return self._load(request)
        self._request = self._future = None
        return future.result()

    def close(self) -> None:
        """Stop. A load under way is waited for, so that no thread outlives the kernel's last lines."""
        self._forget()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> SealedPrefetch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        if self._future is not None:
            self._future.cancel()
        self._request = self._future = None
