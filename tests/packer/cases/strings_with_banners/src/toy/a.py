from __future__ import annotations

TEXT = """
# ======== kernels/go.py ========

from __future__ import annotations
import os
#|archive
"""


def document() -> None:
    r"""
KEYS: dict[str, str] = {}
    \
    """
