"""What a member costs in the kernel: seconds per image x folds x views, and loading."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foldpack.errors import FoldpackError

LOAD_SECONDS = 15.0  # of one fold: decrypt, build the network, warm up; a guess until a kernel has measured it
START_SECONDS = 120.0  # of the kernel: imports, listing, decoding what is not hidden behind the networks


@dataclass(frozen=True)
class MemberCost:
    """seconds_per_image: one fold, one view, on the machine of the training. views: how many, each by the pixels that

    it shows, those of the network's own side being 1.
    """

    seconds_per_image: float
    folds: int
    views: float
    load_seconds: float = LOAD_SECONDS


@dataclass(frozen=True)
class Machine:
    """images: to predict; device_factor: how many times slower the kernel's device is; devices: working at once."""

    images: int
    device_factor: float = 1.0
    devices: int = 1
    start_seconds: float = START_SECONDS


def unit_hours(member: MemberCost, machine: Machine) -> float:
    """Hours of one fold of a member with all its views."""
    seconds = member.seconds_per_image * member.views * machine.images * machine.device_factor + member.load_seconds
    return seconds / 3600 / machine.devices


def member_hours(member: MemberCost, machine: Machine) -> float:
    """Hours of all folds of a member."""
    return unit_hours(member, machine) * member.folds


def parse_hours(text: str) -> float:
    """Read a time limit: 9h, 8h40m, 540m, or a plain number of hours. Raises FoldpackError."""
    words = text.strip()
    number, parts = re.fullmatch(r"\d+(\.\d+)?", words), re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+)m)?", words)
    if number:
        return float(words)
    if not words or parts is None:
        raise FoldpackError(f"time limit {text!r} is not understood; write it as 9h, 8h40m or 540m")
    return float(parts[1] or 0) + float(parts[2] or 0) / 60
