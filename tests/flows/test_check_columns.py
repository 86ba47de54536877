"""`check` prints one line for each column, and the shares of the classes."""

from pathlib import Path

import pandas as pd
from rich.console import Console

STUDY = """
question = "Who leaves?"
[data]
source = "table.csv"
target = "churned"
drop = ["customer"]
[space]
learning_rate.peak = 0.1
[search]
trials = 1
epochs = 1
"""
TABLE = pd.DataFrame(
    {
        "customer": range(100),
        "income": [f"${value:,}.00" if value % 10 else "?" for value in range(1000, 1100)],
        "joined": pd.date_range("2020-01-01", periods=100).strftime("%d/%m/%Y"),
        "plan": ["Basic", "basic ", "Premium", "Premium"] * 25,
        "constant": ["same"] * 100,
        "churned": (["yes"] + ["no"] * 9) * 10,
    }
)


def test_check_prints_a_line_for_each_column_and_the_class_shares(tmp_path: Path) -> None:
    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    TABLE.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "study.toml").write_text(STUDY)
    check = check_study(load_study(tmp_path / "study.toml"))
    assert check.classes == {"no": 54, "yes": 6}
    lines = {line["name"]: line for line in check.as_json()["columns"]}
    assert list(lines) == ["churned", "income", "joined", "plan", "constant", "customer"]
    assert (lines["income"]["read_as"], lines["joined"]["read_as"]) == ("number", "date")
    assert (lines["income"]["distinct"], lines["income"]["missing"]) == (54, 6)
    assert lines["income"]["example"].startswith("$1,0")
    assert "$ taken off" in lines["income"]["done"]
    assert (lines["plan"]["distinct"], "case and blanks" in lines["plan"]["done"]) == (2, True)
    assert "single value" in lines["constant"]["done"]
    assert lines["customer"]["done"] == "dropped"
    console = Console(record=True, width=160)
    print_check(console, check)
    printed = console.export_text()
    assert "no 90.0%, yes 10.0% (of 60 training rows)" in printed
    assert [name for name in lines if f"│ {name} " not in printed] == []


def test_check_prints_the_rounds_of_a_model_and_brackets_alike_in_one_line(tmp_path: Path) -> None:
    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    TABLE.to_csv(tmp_path / "table.csv", index=False)
    search = 'method = "gp"\ntrials = 40\nepochs = 6\nsmallest_epochs = 3'
    text = STUDY.replace("trials = 1\nepochs = 1", search).replace("= 0.1", "= { low = 0.1, high = 1.0 }")
    (tmp_path / "study.toml").write_text(text)
    check = check_study(load_study(tmp_path / "study.toml"))
    assert (check.trials, check.is_proposing, check.largest_cost_epochs) == (40, True, 40 * 3 + 20 * 3)
    console = Console(record=True, width=160)
    print_check(console, check)
    printed = console.export_text()
    assert "brackets 1-2  16 × 3 → 8 × 6 epochs\nbracket 3     8 × 3 → 4 × 6 epochs" in printed
    assert "trials 0 to 15 are drawn at random" in printed


def test_check_says_what_an_automatic_search_will_do(tmp_path: Path, portfolio: None) -> None:
    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    TABLE.to_csv(tmp_path / "table.csv", index=False)
    search = "trials = 40\nepochs = 12"
    text = STUDY.replace("trials = 1\nepochs = 1", search).replace(
        "= 0.1", '= { low = 1e-4, high = 1.0, scale = "log" }'
    )
    (tmp_path / "study.toml").write_text(text)
    check = check_study(load_study(tmp_path / "study.toml"))
    assert check.start is not None
    assert (check.start["by"], check.start["points"], check.adapts_rungs) == ("auto", 8, True)
    assert check.largest_cost_epochs == 8 * 3 + 4 * 3 + 2 * 6 + 32 * 12
    console = Console(record=True, width=160)
    print_check(console, check)
    printed = console.export_text()
    assert "8 of 8 configurations of the portfolio" in printed
    assert "the others are proposed in 2 rounds" in printed
    assert "leave out first rungs" in printed
    assert "40 (auto, the default)" in printed
    full = text.replace("trials = 40", 'method = "auto"\nstart = "none"\ntrials = 40') + "reuse = true\n"
    (tmp_path / "study.toml").write_text(full)
    check = check_study(load_study(tmp_path / "study.toml"))
    print_check(console, check)
    printed = console.export_text()
    assert (check.start, check.adapts_rungs, check.is_default_method) == (None, False, False)
    assert "40 (auto)" in printed
    assert "trained in full: search.reuse" in printed


def test_check_says_how_a_population_changes_ranges_and_options(tmp_path: Path) -> None:
    from nightune.flows.commands.check_tables import print_check
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    TABLE.to_csv(tmp_path / "table.csv", index=False)
    text = STUDY.replace("trials = 1\nepochs = 1", 'method = "pbt"\npopulation = 4\nepochs = 4')
    options = 'optimizer = "adamw"\nweight_decay.strength = [0.01, 0.1]\nlearning_rate.peak = '
    printed = []
    for peak in ("{ low = 0.1, high = 1.0 }", "[0.1, 1.0]"):
        (tmp_path / "study.toml").write_text(text.replace("learning_rate.peak = 0.1", f"{options}{peak}"))
        console = Console(record=True, width=160)
        print_check(console, check_study(load_study(tmp_path / "study.toml")))
        printed.append(next(line for line in console.export_text().splitlines() if "other values" in line))
    assert "times 0.8 or 1.2, the next larger or smaller option of weight_decay.strength, or drawn" in printed[0]
    assert "learning_rate.peak, weight_decay.strength, the next" in printed[1]
    assert "times" not in printed[1]
