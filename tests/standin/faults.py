"""Faults that a test asks the stand-in for: which call goes wrong, and how."""

from __future__ import annotations

from dataclasses import dataclass

SIZE_MESSAGE = "The kernel source must be less than 1 megabytes in size."
STATUS_FAULTS = {
    "http-400": (400, SIZE_MESSAGE),
    "http-401": (401, "Unauthenticated"),
    "http-403": (403, "Permission 'kernels.update' was denied"),
    "http-409": (409, "A notebook with this title already exists"),
    "http-413": (413, "Request Entity Too Large"),
    "http-429": (429, "Too many requests"),
    "http-500": (500, "Internal error"),
    "http-500-after": (500, "Internal error"),
}
# Kinds that any call can suffer, and those that only one route can.
COMMON_KINDS = (*STATUS_FAULTS, "timeout-before", "timeout-after", "timeout-late", "truncated", "slow")
LATE_REQUESTS = 2  # a `timeout-late` call takes effect before the second request after it
ROUTE_KINDS = {
    "dropped-sources": "SaveKernel",
    "dropped-models": "SaveKernel",
    "changed-slug": "SaveKernel",
    "stale-dataset": "CreateDatasetVersion",
}
KINDS = (*COMMON_KINDS, *ROUTE_KINDS)
# The call takes effect although the client sees a failure.
AFTER_KINDS = ("timeout-after", "timeout-late", "truncated", "http-500-after")


@dataclass
class Fault:
    """One fault: at the call with this index, or at the next call of this route, `times` times.

    call: counted over all requests from 0. route: the method's name, such as SaveKernel, or PUT, GET. seconds: how long
    a slow answer takes, or how long a timed out connection is held before it is closed.
    """

    kind: str
    call: int | None = None
    route: str | None = None
    times: int = 1
    seconds: float = 0.0
    met: int = 0  # how often it happened

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"'{self.kind}' is no fault; there are {', '.join(KINDS)}")

    def applies(self, index: int, route: str) -> bool:
        """Whether this call is the one."""
        own = ROUTE_KINDS.get(self.kind)
        if self.met >= self.times or (own is not None and route != own):
            return False
        return (self.call is None or index == self.call) and (self.route is None or route == self.route)
