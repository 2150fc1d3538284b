from __future__ import annotations

import importlib
import sys


def f(name: str = 'json') -> object:
    importlib.import_module(name)
    eval('1')
    exec('pass')
    __import__(name)
    return globals(), vars(), sys.modules[name]
