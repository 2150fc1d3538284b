"""Read one file of predictions, labels, folds or groups as it lies there: .npy, .npz, .csv, .parquet or HDF5.

What a column is for is decided in `columns.py`; here text stays text, and what could be an id keeps its zeros.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from foldpack.errors import DataError, did_you_mean
from foldpack.search.files.column_names import is_id_name

READABLE = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".h5", ".hdf5")
ARRAY_OF = re.compile(r"(?P<file>.+\.(?:npz|h5|hdf5)):(?P<array>.+)", re.IGNORECASE)
INDEX = "index"  # the name that pandas gives to an index without one
NO_HEADER = re.compile(r"[-+]?\d*\.\d{3,}|[-+]?\d+(\.\d+)?e[-+]?\d+", re.IGNORECASE)  # 0.1234: data, not a name


@dataclass(frozen=True)
class RawTable:
    """One file, or the files of several folds put together: either a frame with named columns, or an array.

    frame: unique text names, numbers or text (ids as text); array: (n,) or (n, C) numbers, or (n,) text; index: the
    columns that pandas kept as an index; files: where it came from.
    """

    path: Path
    files: tuple[Path, ...]
    frame: pd.DataFrame | None = None
    array: np.ndarray | None = None
    index: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.array) if self.frame is None else len(self.frame)  # type: ignore[arg-type]


def split_array_name(path: Path) -> tuple[Path, str | None]:
    """`FILE.npz:name` or `FILE.h5:name` -> (file, name); any other path -> (path, None)."""
    found = ARRAY_OF.fullmatch(str(path))
    return (path, None) if found is None else (Path(found["file"]), found["array"])


def is_prediction_file(name: str) -> bool:
    """Whether an argument names a file rather than a run; a file of another kind is one too, and refused as such."""
    file = split_array_name(Path(name))[0]
    return file.suffix.lower() in READABLE or (file.suffix != "" and file.is_file())


def read_raw(path: Path) -> RawTable:
    """Read one file, or one array of it (`FILE.npz:name`). Raises DataError naming the file."""
    file, array = split_array_name(path)
    suffix = file.suffix.lower()
    if suffix not in READABLE:
        raise DataError(f"{path}: cannot read a {suffix or 'file without an ending'}; give {', '.join(READABLE)}")
    if not file.is_file():
        raise DataError(f"{file}: there is no such file")
    try:
        if suffix in (".npy", ".npz"):
            loaded = np.load(file, allow_pickle=False)
            return _of_array(loaded if suffix == ".npy" else _npz_array(loaded, path, array), path, file)
        if suffix in (".csv", ".tsv"):
            return _of_frame(read_csv(file), path, file)
        if suffix == ".parquet":
            return _of_frame(pd.read_parquet(file), path, file)
        return _read_hdf5(path, file, array)
    except ImportError as failure:
        raise DataError(f"{path}: {failure}; install it, or save the array as .npy") from None
    except (OSError, ValueError, KeyError, IndexError, RuntimeError, EOFError, zipfile.BadZipFile) as failure:
        if "allow_pickle" in str(failure):
            raise DataError(f"{path}: no NumPy file, or one of Python objects, which only pickle reads, and foldpack "
                            "never does; save numbers, or text with .astype(str)") from None
        raise DataError(f"{path}: cannot read it ({' '.join(str(failure).split())})") from None


def _npz_array(archive: np.lib.npyio.NpzFile, path: Path, name: str | None) -> np.ndarray:
    with archive:
        names = list(archive.files)
        if name is not None and name not in names:
            raise DataError(f"{path}: there is no array {name!r}: {did_you_mean(name, names)}")
        if name is None and len(names) != 1:
            raise DataError(f"{path}: {_which_array(path, names)}")
        return archive[names[0] if name is None else name]


def _which_array(path: Path, names: list[str]) -> str:
    if not names:
        return "it holds no array; save one"
    return f"it holds {len(names)} arrays: {', '.join(names)}; say which: {path}:{names[0]}"


def _of_array(array: np.ndarray, path: Path, file: Path) -> RawTable:
    """(n, 1) becomes (n,); a structured array becomes a frame. Raises DataError."""
    if array.dtype.names:
        return _of_frame(pd.DataFrame.from_records(array), path, file)
    if array.dtype.kind == "S":
        array = array.astype(str)
    if array.dtype.kind not in "biufU":
        raise DataError(f"{path}: an array of {array.dtype}; give numbers, or text for labels")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim not in (1, 2):
        raise DataError(f"{path}: shape {array.shape}; give (n,), or (n, C) with a column for each class")
    if not array.size:
        raise DataError(f"{path}: shape {array.shape}; it holds no number")
    return RawTable(path, (file,), array=array)


def _of_frame(frame: pd.DataFrame, path: Path, file: Path) -> RawTable:
    """A frame with its index, if it says anything, as its first columns. Raises DataError for a doubled name."""
    index: tuple[str, ...] = ()
    if not (isinstance(frame.index, pd.RangeIndex) and frame.index.name is None and frame.index.step == 1):
        frame = frame.rename_axis(index=[str(name) if name is not None else f"{INDEX}{level or ''}"
                                         for level, name in enumerate(frame.index.names)])
        index = tuple(str(name) for name in frame.index.names)
        frame = frame.reset_index()
    frame.columns = pd.Index([str(name).strip() for name in frame.columns])
    _require_unique(list(frame.columns), path)
    if frame.empty:
        raise DataError(f"{path}: it has no rows")
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(str)
        if isinstance(frame[name].iloc[0], list | tuple | np.ndarray):
            raise DataError(f"{path}: column {name!r} holds lists; give each class a column of numbers")
        if is_id_name(name) and _whole_ids(frame[name]):
            frame[name] = frame[name].astype(np.int64)
        elif is_id_name(name) and pd.api.types.is_float_dtype(frame[name]) and frame[name].is_unique \
                and frame[name].abs().max() > 1:  # ids like 12.5; 0 to 1 may be a class called so
            frame[name] = frame[name].astype(str)
    return RawTable(path, (file,), frame, index=index)


def _whole_ids(column: pd.Series) -> bool:
    """Whether a column are ids like 12.0, which a join of tables made of 12. Floats that could be rounded are none."""
    if not pd.api.types.is_float_dtype(column) or not column.is_unique or len(column) < 3 or column.isna().any():
        return False
    exact = 2**24 if column.dtype == np.float32 else 2**53
    return bool((column.abs() < exact).all() and (column % 1 == 0).all())


def _require_unique(names: list[str], path: Path) -> None:
    doubled = [name for place, name in enumerate(names) if name and name in names[:place]]
    if doubled:
        raise DataError(f"{path}: two columns are called {doubled[0]!r}; give each its own name")


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV with a header; columns that could be ids (text, or whole numbers that never repeat) are text as written.

    Raises DataError for a doubled name, a file without a header, or a header that is too short.
    """
    sep, point = _separator(path)
    first_line = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, sep=sep).iloc[0]
    header: list[str] = first_line.str.strip().tolist()
    _require_unique(header, path)
    if (first := next((name for name in header if NO_HEADER.fullmatch(name)), None)) is not None:
        raise DataError(f"{path}: the first line holds the number {first}, so it is no header; write one with the "
                        "names of the columns")
    frame = pd.read_csv(path, low_memory=False, sep=sep, decimal=point)
    if not isinstance(frame.index, pd.RangeIndex):
        raise DataError(f"{path}: the rows have more fields than the header has names; name every column")
    called = [place == 0 or is_id_name(str(name)) for place, name in enumerate(frame.columns)]
    whole = [place for place in range(frame.shape[1]) if called[place] or _could_be_ids(frame.iloc[:, place])]
    text = pd.read_csv(path, usecols=whole, dtype=str, keep_default_na=False, sep=sep)
    for place, name in zip(whole, text.columns, strict=True):
        frame[name] = _as_written(text[name].str.strip(), frame.iloc[:, place])
    return frame


def _separator(path: Path) -> tuple[str, str]:
    """(what separates the columns, the decimal point): comma; semicolon, tab or | where the header has none."""
    with open(path, encoding="utf-8-sig") as file:
        lines = [line for line in (file.readline() for _ in range(10)) if line.strip()]
    if not lines or "," in lines[0]:
        return ",", "."
    sep = next((one for one in ";\t|" if one in lines[0]), ",")
    comma = sep != "," and any(re.search(r"(^|[;\t|])-?\d+,\d+([eE]-?\d+)?\s*($|[;\t|])", line) for line in lines[1:])
    return sep, "," if comma else "."


def _could_be_ids(column: pd.Series) -> bool:
    return not _holds_numbers(column) or (pd.api.types.is_integer_dtype(column) and column.is_unique)


def _holds_numbers(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column)


def _as_written(text: pd.Series, read: pd.Series) -> pd.Series:
    """Text, unless it is numbers with a point, or how pandas would write the numbers that it has read: then these."""
    if pd.api.types.is_float_dtype(read):  # ids like 3e7, too long for 64 bits, or with a gap
        return text if text.str.fullmatch(r"\d+([eE]\d+)?|").all() else read
    return read if _holds_numbers(read) and (text == read.astype(str)).all() else text


def _read_hdf5(path: Path, file: Path, array: str | None) -> RawTable:
    """What pandas wrote under a key, or one array of a plain file. Raises DataError, ValueError or KeyError."""
    import tables

    with tables.open_file(str(file)) as opened:
        frames = [node._v_pathname for node in opened.walk_groups("/") if "pandas_type" in node._v_attrs]
        arrays = [] if frames else [node for node in opened.walk_nodes("/", "Array") if node.ndim in (1, 2)]
        names = frames or [node._v_pathname for node in arrays]
        wanted = None if array is None else "/" + array.lstrip("/")
        if wanted is not None and wanted not in names:
            raise DataError(f"{path}: there is no array {array!r}: {did_you_mean(array or '', names)}")
        if wanted is None and len(names) != 1:
            which = f"{', '.join(names)}; say which: {path}:{names[0].lstrip('/')}" if names else "none"
            raise ValueError(f"it must hold one table of pandas, or one array of 1 or 2 dimensions; it holds {which}")
        chosen = wanted or names[0]
        if not frames:
            return _of_array(np.asarray(opened.get_node(chosen).read()), path, file)
    stored = pd.read_hdf(file, key=chosen)
    return _of_frame(stored.to_frame() if isinstance(stored, pd.Series) else pd.DataFrame(stored), path, file)
