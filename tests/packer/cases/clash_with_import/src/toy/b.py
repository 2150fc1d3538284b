from __future__ import annotations

import json as data
from time import time


def g() -> object:
    return data, time
