from __future__ import annotations

import collections.abc
import os
import string
import xml.etree.ElementTree as ET
from collections import OrderedDict, defaultdict, deque
from json import dumps


def show(data: collections.abc.Mapping) -> str:
    return dumps(data) + os.sep + str(OrderedDict(a=defaultdict(int)[1], b=len(deque()))) + ET.Element("a").tag


def unused() -> str:
    return string.digits
