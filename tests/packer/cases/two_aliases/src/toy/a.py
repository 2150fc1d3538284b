from __future__ import annotations

import numpy
import pandas as pandas_
from torch import nn


def f() -> object:
    return numpy, pandas_, nn
