from __future__ import annotations

import time


def data() -> object:
    return time
