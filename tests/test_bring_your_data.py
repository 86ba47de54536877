"""Each example of docs/bring-your-data.md is read from a file of its kind."""

import re
import sqlite3
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from nightune.tasks.load_study import load_study
from nightune.tasks.prepare_data import read_dataset
from nightune.tuning.study.data_section import OF_SOURCE

PAGE = Path("docs/bring-your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
CODE = "\n".join(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "mlflow" not in block)
REST = BLOCKS[0].partition("[space]")[2]
EXTRAS = {".xlsx": "openpyxl", ".duckdb": "duckdb"}
ROWS = 60


def tables(folder: Path) -> None:
    random = np.random.default_rng(1)
    flats = pd.DataFrame(
        {
            "price": np.round(random.normal(100, 20, ROWS), 2),
            "rooms": random.integers(1, 7, ROWS),
            "city": random.choice(["Rome", "Paris"], ROWS),
            "year": random.choice([2024, 2025], ROWS),
            "sold": random.choice(["yes", "no"], ROWS),
        }
    )
    flats.to_csv(folder / "flats.csv", index=False)
    german = {"index": False, "sep": ";", "decimal": ",", "encoding": "cp1252"}
    flats.assign(city="Köln").to_csv(folder / "german.csv", **german)
    flats.assign(city="Köln").to_csv(folder / "german.csv.gz", **german)
    flats.to_json(folder / "flats.jsonl", orient="records", lines=True)
    for year, part in flats.groupby("year"):
        (folder / "flats" / f"year={year}").mkdir(parents=True)
        part.drop(columns="year").to_parquet(folder / "flats" / f"year={year}" / "part.parquet")
    flats.to_feather(folder / "flats.feather")
    connection = sqlite3.connect(folder / "flats.db")
    flats.to_sql("flats", connection, index=False)
    connection.close()


def extras(folder: Path, flats: pd.DataFrame) -> None:
    """Write the files of the packages that are installed."""
    try:
        with pd.ExcelWriter(folder / "flats.xlsx", engine="openpyxl") as book:
            pd.DataFrame({"notes": ["a"]}).to_excel(book, sheet_name="notes", index=False)
            flats.to_excel(book, sheet_name="rows", index=False)
    except ImportError:
        pass
    try:
        import duckdb
    except ImportError:
        return
    with duckdb.connect(str(folder / "flats.duckdb")) as database:
        database.register("given", flats)
        database.execute("create table flats as select * from given")


def arrays(folder: Path) -> None:
    x, y = np.random.default_rng(1).normal(size=(ROWS, 4)), np.arange(ROWS) % 3
    np.savez(folder / "digits.npz", x=x, y=y)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    with h5py.File(folder / "digits.h5", "w") as content:
        content["train/images"], content["train/labels"] = x, y
    for number in range(24):
        kind = folder / "animals" / ("cat", "dog")[number % 2]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8 + number, 9, 3), 10 * number, np.uint8)).save(kind / f"{number}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    tables(folder)
    extras(folder, pd.read_csv(folder / "flats.csv"))
    arrays(folder)
    start = "from pathlib import Path\nimport numpy as np\nimport pandas as pd\nHERE = Path(__file__).parent\n"
    (folder / "loaders.py").write_text(start + CODE)
    return folder


@pytest.mark.parametrize("block", BLOCKS, ids=[re.search(r'source = "(.*?)"', each)[1] for each in BLOCKS])
def test_an_example_of_the_page_is_read(folder: Path, block: str) -> None:
    source = re.search(r'source = "(.*?)"', block)[1]
    if Path(source).suffix in EXTRAS:
        pytest.importorskip(EXTRAS[Path(source).suffix])
    study = folder / "study.toml"
    study.write_text(block if "[search]" in block else f'question = "?"\n{block}[space]{REST}', encoding="utf-8")
    assert len([line for line in study.read_text().splitlines() if line.strip()]) <= 15
    data = read_dataset(load_study(study))
    assert 10 < sum(data.sizes.values()) <= ROWS
    assert len(data.classes or ()) in (2, 3)


def test_the_page_names_every_key_of_a_source() -> None:
    assert [name for name in OF_SOURCE if f"`{name}`" not in PAGE] == []
