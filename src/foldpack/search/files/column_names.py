"""What columns are usually called: ids, folds, groups, targets, and what pandas makes of an index."""

from __future__ import annotations

import re

ID_NAMES = frozenset("id ids image images img file files filename filepath path uuid guid key name uid imagename "
                     "imagefile imagepath fname identifier".split())
MAYBE_CLASSES = frozenset("name key path".split())  # where these repeat themselves they need not be ids
FOLD_NAMES = frozenset("fold folds kfold foldid foldno foldidx foldnumber cvfold cv foldindex validfold".split())
GROUP_NAMES = frozenset("group groups groupid cluster clusterid patient patientid subject subjectid".split())
TARGET_NAMES = frozenset("target targets label labels y ytrue yval yvalid truth true gt groundtruth actual actuals "
                         "answer class classid labelid targetid truelabel oofy".split())
COUNTER_NAMES = frozenset("index level0 row rownumber rownum rowno unnamed".split())


def plain_name(name: str) -> str:
    """Lower case, without anything but letters and digits: "Image_ID" -> "imageid"."""
    return re.sub(r"[\W_]+", "", name).lower()


def is_counter_name(name: str) -> bool:
    """Called like what pandas makes of an index: index, level_0, Unnamed: 0, or nothing."""
    return plain_name(name) in COUNTER_NAMES or re.fullmatch(r"(unnamed: |level_)\d+|", name.lower()) is not None


def is_id_name(name: str) -> bool:
    """Called id, image_id, ImageId, file, uuid ..., or anything that ends in Id, ID or _id."""
    ends = re.search(r"([a-z0-9]I[dD]|[_\s.-][iI][dD]|UID)$", name)
    starts = re.match(r"id[_\s.-]|(image|img|file)[_\s.-]?(name|path|file)$", name, re.IGNORECASE)
    return plain_name(name) in ID_NAMES or ends is not None or starts is not None
