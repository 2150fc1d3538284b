from __future__ import annotations

import logging
import os
import random
import time

HOME = os.environ['HOME']
START = time.time()
logging.basicConfig(level=20)
random.seed(1)
print('hello')


def f(path: str = os.getcwd()) -> object:
    return HOME, START, path
