from __future__ import annotations

from string import Formatter, Template, ascii_letters, ascii_lowercase, ascii_uppercase, digits, hexdigits, octdigits, printable, punctuation  # noqa: E501


def number10_zeta() -> int:
    return len(ascii_letters + ascii_lowercase + ascii_uppercase + digits + hexdigits + octdigits + printable + punctuation)


def number2_alpha() -> str:
    return Template("$x").substitute(x=1) + Formatter().format("{}", 2)
