"""Keys go into a script last, into its one KEYS line; and nothing that looks like a key may be in it before."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packer.errors import PackError
from packer.flatten.packed_script import assigned_value, find_assignment

KEYS_LINE = "KEYS: dict[str, str] = {}"
SIZE_LIMIT = 1_000_000  # bytes; Kaggle refuses a kernel source of 1 MB

# What it is: texts of which one is in it, quick to look for, and the pattern.
SECRET_TEXT = {
    "a Kaggle token": (("KGAT_",), r"KGAT_[0-9a-fA-F]{32}"),
    "a Kaggle API key": (("'key'", '"key"'), r"""["']key["']\s*:\s*["'][0-9a-f]{32}["']"""),
    "a private key": (("-----BEGIN", "AGE-SECRET"), r"-----BEGIN [A-Z ]*PRIVATE KEY-----|AGE-SECRET-KEY-1"),
    "a GitHub token": (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "a Hugging Face token": (("hf_",), r"\bhf_[A-Za-z]{34}\b"),
    "an AWS key": (("AKIA",), r"\bAKIA[0-9A-Z]{16}\b"),
}
KEY_PLACES = ("inline", "dataset")  # `keys: dataset` says where the kernel has its keys, and is none
SECRET_NAMES = frozenset({
    "key", "keys", "secret", "secrets", "token", "password", "passphrase", "credentials", "api_key", "apikey", "dek",
})


def inject_keys(text: str, keys: dict[str, str]) -> str:
    """The script with `keys` in its KEYS line; no other line changes, and no line is added.

    keys: opaque text by name. Raises PackError when the script has no empty KEYS line, when a key is already in it, or
    when the script gets too large.
    """
    for name, key in keys.items():
        if type(name) is not str or type(key) is not str:
            raise PackError(f"keys are text by name; {name!r} holds a {type(key).__name__}")
    node, lines = find_assignment(text, "KEYS"), text.split("\n")
    if node is None:
        raise PackError("the script has no KEYS line; only a pack with a spec takes keys")
    if lines[node.lineno - 1] != KEYS_LINE:
        raise PackError("the script already holds keys; give the keyless pack")
    for name, key in keys.items():
        if len(key) >= 8 and key in text:
            raise PackError(f"the key {name!r} already stands outside the script's KEYS line; take it out of the spec")
    lines[node.lineno - 1] = KEYS_LINE.removesuffix("{}") + ascii(keys)
    keyed = "\n".join(lines)
    if len(keyed) > SIZE_LIMIT:
        raise PackError(f"{len(keyed)} bytes with its keys; Kaggle takes at most {SIZE_LIMIT}")
    return keyed


def remove_keys(text: str) -> str:
    """The keyless pack of a script with keys; a keyless one, or one without a KEYS line, comes back as it is."""
    if (node := find_assignment(text, "KEYS")) is None:
        return text
    lines = text.split("\n")
    lines[node.lineno - 1 : node.end_lineno] = [KEYS_LINE]
    return "\n".join(lines)


def keys_in_script(text: str) -> dict[str, str]:
    """The keys that stand in a script, hex by sealed file's name; none for a keyless one."""
    found: dict[str, str] | None = assigned_value(text, "KEYS")
    return found or {}


def refuse_secrets(text: str, what: str) -> None:
    """Raise PackError when a line of `text` holds what looks like a credential; the message does not show it."""
    for name, (hints, pattern) in SECRET_TEXT.items():
        match = re.search(pattern, text) if any(hint in text for hint in hints) else None
        if match:
            line = text.count("\n", 0, match.start()) + 1
            raise PackError(f"{what}:{line}: {name} stands in the text; take it out, and withdraw it where it is valid")


def refuse_secret_fields(spec: object) -> None:
    """Raise PackError when the spec has a field that is named like a secret and holds text."""
    for place, name, value in spec_fields(spec, "spec"):
        says_where = name == "keys" and value in KEY_PLACES
        if name.lower() in SECRET_NAMES and isinstance(value, (str, list, dict)) and value and not says_where:
            raise PackError(f"{place}: a spec holds no secrets; keys are put into the script by themselves")


def spec_fields(value: object, place: str) -> Iterator[tuple[str, str, object]]:
    """Every field of nested data: (place, name, value)."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield f"{place}.{name}", str(name), item
            yield from spec_fields(item, f"{place}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from spec_fields(item, f"{place}[{number}]")
