"""What `nightune init` writes can be tuned as it is: model, study and data fit together."""

from pathlib import Path

import pytest

from nightune.tasks.first_study import write_first_study


@pytest.mark.slow
@pytest.mark.usefixtures("plain_flows", "store_root")
def test_a_first_study_is_tuned_as_it_is(tmp_path: Path) -> None:
    from nightune.flows.tune import tune
    from nightune.tasks.check_study import check_study
    from nightune.tasks.load_study import load_study

    rows = "".join(f"{n % 7},{n % 5},{'ab'[n % 7 > 3]}\n" for n in range(90))
    (tmp_path / "flowers.csv").write_text(f"long,wide,kind\n{rows}")
    study = write_first_study(tmp_path / "flowers.csv", None, tmp_path).study
    assert check_study(load_study(study), lambda: None).models_built > 0
    report = tune(study, trials=2, epochs=1)
    assert report.best is not None
