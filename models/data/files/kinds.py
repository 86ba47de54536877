"""The kinds of data files, by the suffixes of their names."""

from pathlib import Path

KINDS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".feather": "feather",
    ".arrow": "feather",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
    ".db": "sqlite",
    ".duckdb": "duckdb",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".npz": "npz",
    ".npy": "npy",
}
ARRAYS = ("hdf5", "npz", "npy")  # all others hold tables
PACKED = (".gz", ".bz2", ".xz", ".zip")  # around the texts of a table
TEXTS = ("csv", "json", "jsonl")
FORMATS = tuple(KINDS)
# What people have besides, and what to do with it.
OTHERS = {
    ".xls": "save it as .xlsx",
    ".ods": "save it as .xlsx",
    ".pkl": "a pickle may run code; save it as .parquet or .npz, or read it by a function, file.py:function",
    ".pickle": "a pickle may run code; save it as .parquet or .npz, or read it by a function, file.py:function",
    ".zst": "unpack it, or pack it as .gz",
    ".tar": "unpack it, and name a file or a folder in it",
    ".tgz": "unpack it, and name a file or a folder in it",
    ".tfrecord": "return a tf.data.Dataset of (x, y) from a function, file.py:function",
    ".mat": "read it by a function, file.py:function (scipy.io.loadmat)",
    ".sav": "read it by a function, file.py:function (pandas.read_spss)",
    ".dta": "read it by a function, file.py:function (pandas.read_stata)",
    ".orc": "read it by a function, file.py:function (pandas.read_orc)",
    ".data": "name it .csv, with the names of its columns in the first line",
    ".dat": "name it .csv, with the names of its columns in the first line",
    ".arff": "read it by a function, file.py:function (scipy.io.arff.loadarff)",
    **dict.fromkeys((".sas7bdat", ".xpt"), "read it by a function, file.py:function (pandas.read_sas)"),
    ".xml": "read it by a function, file.py:function (pandas.read_xml)",
    ".html": "read it by a function, file.py:function (pandas.read_html)",
    **dict.fromkeys(
        (".svm", ".libsvm", ".svmlight"),
        "read it by a function, file.py:function (sklearn.datasets.load_svmlight_file)",
    ),
    **dict.fromkeys((".pt", ".pth", ".joblib"), "it may run code; save its arrays as .npz, or read it by a function"),
    **dict.fromkeys(
        (".wav", ".mp3", ".flac"), "read sounds by a function, file.py:function, that returns arrays of one length"
    ),
}


def kind_of(file: Path) -> str | None:
    """Return the kind of a file by its name, such as "csv" for table.csv.gz; None if it is of no known kind."""
    suffix, packed = suffixes(file)
    kind = KINDS.get(suffix)
    return None if packed and kind not in TEXTS else kind


def suffixes(file: Path) -> tuple[str, str]:
    """Return the suffix of a file's kind and that of its packing, empty if it is not packed."""
    last = file.suffix.lower()
    return (Path(file.stem).suffix.lower(), last) if last in PACKED else (last, "")


def listed_formats() -> str:
    """List the suffixes in words."""
    return f"{', '.join(FORMATS)}, texts of tables also with {', '.join(PACKED)}"
