"""Test-time views by name: what is cut out of the image, and how it is turned. Pixels: `predict/view_pixels.py`.

A view is a window of the image, in shares of its sides, and one of the eight turns of the square; it may be shown at
another side than the network's own, and in grey. A name is a step, or
several joined by `+` and done from left to right: `hflip`, `scale:1.25`, `transpose+crop:top-left:0.875`. However many
steps, there is one window and one turn, so pixels are resampled once at most. A group is a name that stands for several
views: `d4`, `five-crop:0.875`.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import replace
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Protocol

from foldpack.data.geometry import PixelSettings, input_share
from foldpack.errors import did_you_mean
from foldpack.predict.view import View, ViewError, Window
from foldpack.settings.network import SIDE_LIMITS, height_width

# (transpose, then mirror left to right, then mirror top to bottom); rot90 is counter-clockwise
VIEW_TURNS: dict[str, tuple[bool, bool, bool]] = {
    "identity": (False, False, False),
    "hflip": (False, True, False),
    "vflip": (False, False, True),
    "rot180": (False, True, True),
    "rot90": (True, False, True),
    "rot270": (True, True, False),
    "transpose": (True, False, False),
    "transverse": (True, True, True),
}
# Where a crop of a share of both sides lies: (left, top) as shares of the room that it leaves. `inner` is the centre
# crop of the centre crop.
CROP_PLACES: dict[str, tuple[Fraction, Fraction]] = {
    "top-left": (Fraction(0), Fraction(0)),
    "top-right": (Fraction(1), Fraction(0)),
    "bottom-left": (Fraction(0), Fraction(1)),
    "bottom-right": (Fraction(1), Fraction(1)),
    "centre": (Fraction(1, 2), Fraction(1, 2)),
    "inner": (Fraction(1, 2), Fraction(1, 2)),
}
VIEW_FORMS = (
    "scale:FACTOR", "shift:RIGHT:DOWN", "crop:PLACE:SHARE", "crop:LEFT:TOP:SHARE", "crop:full", "side:PIXELS", "grey",
)
VIEW_GROUPS = ("d4", "five-crop:SHARE", "seven-crop:SHARE", "random-crop:COUNT:seedN:SHARE")
SCALE_LIMITS = (Fraction(1, 4), Fraction(4))
SHIFT_LIMITS = (Fraction(-1, 2), Fraction(1, 2))
SHARE_LIMITS = (Fraction(1, 10), Fraction(1))
MAX_RANDOM_CROPS = 64
WINDOW_LIMITS = (Fraction(1, 64), Fraction(64))  # sides of the window after all steps
PLAIN_NUMBER = re.compile(r"-?[0-9]{1,4}(\.[0-9]{1,9})?")

class ShownSettings(Protocol):
    """What decides which views can be shown: keys of a network, or of a member of an ensemble."""

    @property
    def size(self) -> int | list[int]: ...
    @property
    def canvas(self) -> int | list[int] | None: ...
    @property
    def channels(self) -> int: ...


def parse_view(name: str) -> View:
    """A name -> its view. Raises ViewError: what is wrong, what is allowed, what was probably meant."""
    view = View(name)
    for step in name.split("+"):
        if step == "grey":
            view = replace(view, grey=True)
        elif step.startswith("side:"):
            view = replace(view, side=_view_side(step, name, view.side))
        else:
            turn, window = _view_step(step, name)
            view = replace(view, turn=join_turns(view.turn, turn),
                           window=inner_window(view.window, undo_turn(view.turn, window)))
    smallest, largest = WINDOW_LIMITS
    left, top, right, bottom = view.window
    if not (smallest <= right - left <= largest and smallest <= bottom - top <= largest):
        raise ViewError(f"view '{name}' shows {float(right - left):g} of the image's width; "
                        f"allowed: {float(smallest):g} to {float(largest):g}")
    return view


def _view_side(step: str, name: str, before: int | None) -> int:
    pixels = step.removeprefix("side:")
    if before is not None or not re.fullmatch("[0-9]{1,4}", pixels) or not (
            SIDE_LIMITS[0] <= int(pixels) <= SIDE_LIMITS[1]):
        raise ViewError(f"view '{name}': write side:PIXELS once, from {SIDE_LIMITS[0]} to {SIDE_LIMITS[1]}")
    return int(pixels)


def _view_step(step: str, name: str) -> tuple[tuple[bool, bool, bool], Window]:
    """One step -> its turn and its window."""
    where = f"'{step}'" if step == name else f"'{step}' in '{name}'"
    if step in VIEW_TURNS:
        return VIEW_TURNS[step], (Fraction(0), Fraction(0), Fraction(1), Fraction(1))
    kind, _, rest = step.partition(":")
    fields = rest.split(":") if rest else []
    if kind == "scale" and len(fields) == 1:
        reach = 1 / _view_number(fields[0], "FACTOR", SCALE_LIMITS, where)
        return VIEW_TURNS["identity"], ((1 - reach) / 2, (1 - reach) / 2, (1 + reach) / 2, (1 + reach) / 2)
    if kind == "shift" and len(fields) == 2:
        right = _view_number(fields[0], "RIGHT", SHIFT_LIMITS, where)
        down = _view_number(fields[1], "DOWN", SHIFT_LIMITS, where)
        return VIEW_TURNS["identity"], (-right, -down, 1 - right, 1 - down)
    if kind == "crop" and fields:
        return VIEW_TURNS["identity"], _crop_window(fields, where)
    if step.partition(":")[0] in [group.partition(":")[0] for group in VIEW_GROUPS]:
        raise ViewError(f"{where} is a group of views, and one view is needed here; its views: "
                        f"{', '.join(_group_views(step, where))}")
    forms = [form for form in VIEW_FORMS if form.partition(":")[0] == kind]
    if forms:
        raise ViewError(f"view {where}: write {' or '.join(forms)}, numbers as in crop:centre:0.875")
    raise ViewError(f"unknown view {where}: {_near_view(step)}")


def _near_view(step: str) -> str:
    """The tail of the message about an unknown step: the nearest form by its first word, and all that is allowed."""
    forms = {form.partition(":")[0]: form for form in (*VIEW_TURNS, *VIEW_GROUPS, *VIEW_FORMS[::-1])}
    close = get_close_matches(step.partition(":")[0], list(forms), n=1)
    hint = f"did you mean '{forms[close[0]]}'? " if close else ""
    return f"{hint}Allowed: {', '.join([*VIEW_TURNS, *VIEW_FORMS, *VIEW_GROUPS])}"


def _crop_window(fields: list[str], where: str) -> Window:
    if fields == ["full"]:
        return Fraction(0), Fraction(0), Fraction(1), Fraction(1)
    if len(fields) == 2:
        if fields[0] not in CROP_PLACES:
            raise ViewError(f"view {where}: unknown place '{fields[0]}': {did_you_mean(fields[0], list(CROP_PLACES))}")
        share = _view_number(fields[1], "SHARE", SHARE_LIMITS, where)
        share = share * share if fields[0] == "inner" else share
        left, top = ((1 - share) * place for place in CROP_PLACES[fields[0]])
        return left, top, left + share, top + share
    if len(fields) != 3:
        raise ViewError(f"view {where}: write crop:PLACE:SHARE or crop:LEFT:TOP:SHARE")
    share = _view_number(fields[2], "SHARE", SHARE_LIMITS, where)
    left = _view_number(fields[0], "LEFT", (Fraction(0), 1 - share), where)
    top = _view_number(fields[1], "TOP", (Fraction(0), 1 - share), where)
    return left, top, left + share, top + share


def _view_number(text: str, what: str, limits: tuple[Fraction, Fraction], where: str) -> Fraction:
    """A plain decimal, exactly: 0.1 is one tenth."""
    if not (PLAIN_NUMBER.fullmatch(text) and limits[0] <= Fraction(text) <= limits[1]):
        raise ViewError(f"view {where}: {what} is '{text}'; allowed: a plain number from {float(limits[0]):g} to "
                        f"{float(limits[1]):g}")
    return Fraction(text)


def join_turns(first: tuple[bool, bool, bool], then: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    """The one turn that does the same as two, one after the other."""
    swap, across, down = first
    if then[0]:
        across, down = down, across
    return swap != then[0], across != then[1], down != then[2]


def undo_turn(turn: tuple[bool, bool, bool], window: Window) -> Window:
    """A window of the turned image -> the same window of the image before the turn."""
    swap, across, down = turn
    left, top, right, bottom = window
    if across:
        left, right = 1 - right, 1 - left
    if down:
        top, bottom = 1 - bottom, 1 - top
    return (top, left, bottom, right) if swap else (left, top, right, bottom)


def inner_window(outer: Window, inner: Window) -> Window:
    """A window of what `outer` shows -> the same window of the whole image."""
    left, top, right, bottom = outer
    wide, high = right - left, bottom - top
    return left + inner[0] * wide, top + inner[1] * high, left + inner[2] * wide, top + inner[3] * high


def require_inputs(names: list[str], net: ShownSettings) -> None:
    """Raises ViewError for a view that a network with these settings cannot be shown."""
    whole = max(height_width(net.canvas or net.size))
    for view in map(parse_view, names):
        if view.grey and net.channels != 3:
            raise ViewError(f"view '{view.name}' needs images of 3 channels, and net.channels is {net.channels}")
        if view.side is not None and view.side > whole:
            raise ViewError(f"view '{view.name}' is larger than the canvas of {whole} px; set net.canvas to the "
                            "largest side, or leave the view out")


def parse_views(names: list[str], net: ShownSettings) -> list[View]:
    """Names -> views for a network with these settings. Raises ViewError for what it cannot be shown, or is twice."""
    require_views(names)
    require_inputs(names, net)
    return [parse_view(name) for name in names]


def cost_of_views(names: list[str], net: PixelSettings) -> float:
    """How many views of the network's own side so much work is: those of another side count by their pixels."""
    return sum(input_share(net, parse_view(name).side) for name in names)


def views_of_spec(spec: dict[str, Any]) -> dict[str, View]:
    """The views of all members of an ensemble, by name. spec: as plain data. Raises ViewError."""
    members = [member for stage in spec["stages"] for member in stage["members"]]
    return {name: parse_view(name) for member in members for name in member["views"]}


def require_views(names: list[str]) -> None:
    """Raises ViewError for a name that is no view, one that is named twice, or two that show the same."""
    seen: dict[View, str] = {}
    for name in names:
        view = parse_view(name)
        if seen.get(view) == name:
            raise ViewError(f"a view is named twice: {', '.join(names)}; name each once")
        if view in seen:
            raise ViewError(f"views '{seen[view]}' and '{name}' show the same; keep one of them")
        seen[view] = name


def expand_views(names: list[str]) -> list[str]:
    """Names and groups -> names of single views, in order, checked by `require_views`.

    A group may be a step too: `hflip+five-crop:0.875` stands for five views, `d4+five-crop:0.875` for forty.
    """
    expanded: list[str] = []
    for name in names:
        steps = [_group_views(step, f"'{step}'") or [step] for step in name.split("+")]
        for chosen in itertools.product(*steps):
            kept = [step for step in chosen if step != "identity"] if len(chosen) > 1 else list(chosen)
            expanded.append("+".join(kept) or "identity")
    require_views(expanded)
    return expanded


def _group_views(step: str, where: str) -> list[str]:
    """The views of a group; none for a step that is no group."""
    kind, *fields = step.split(":")
    forms = {group.partition(":")[0]: group for group in VIEW_GROUPS}
    if kind not in forms:
        return []
    if len(fields) != forms[kind].count(":"):
        raise ViewError(f"view {where}: write {forms[kind]}")
    if kind == "d4":
        return list(VIEW_TURNS)
    if kind == "random-crop":
        return _random_crops(fields[0], fields[1], fields[2], where)
    _view_number(fields[0], "SHARE", SHARE_LIMITS, where)
    places = [place for place in CROP_PLACES if kind == "seven-crop" or place != "inner"]
    full = ["crop:full"] if kind == "seven-crop" else []
    return [f"crop:{place}:{fields[0]}" for place in places] + full


def _random_crops(count: str, seed: str, share: str, where: str) -> list[str]:
    """Crops at places that depend on the seed alone, spelled out to four digits: nothing is drawn at run time."""
    side = _view_number(share, "SHARE", SHARE_LIMITS, where)
    if not re.fullmatch("[0-9]{1,3}", count) or not 1 <= int(count) <= MAX_RANDOM_CROPS:
        raise ViewError(f"view {where}: COUNT is '{count}'; allowed: 1 to {MAX_RANDOM_CROPS}")
    if not re.fullmatch("seed[0-9]{1,9}", seed):
        raise ViewError(f"view {where}: the seed is '{seed}'; write it as seed7")
    room = int((1 - side) * 10_000)  # positions, in steps of 0.0001
    crops = []
    for number in range(int(count)):
        digest = hashlib.sha256(f"{int(seed[4:])}:{number}".encode("ascii")).digest()
        left, top = (int.from_bytes(part, "big") * (room + 1) >> 64 for part in (digest[:8], digest[8:16]))
        crops.append(f"crop:{left / 10_000:.4f}:{top / 10_000:.4f}:{share}")
    return crops
