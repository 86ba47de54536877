"""The shipped scores as the prior mean of a study: none of what its trials refuse, and no damaged file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nightune.models.recipe.params import read_recipe
from nightune.tasks.load_study import load_study
from nightune.tasks.prior_scores import prior_scores
from nightune.tasks.propose_trials import complete_params
from nightune.tuning.errors import StudyError
from nightune.tuning.search import recorded_scores
from nightune.tuning.study.study import Study
from tests.tasks.test_first_points import FAMILY_STUDY

SHIPPED = recorded_scores.FILE.read_text(encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study in whose space an L2 penalty and weight decay contradict each other."""
    path = tmp_path / "clash.toml"
    path.write_text(FAMILY_STUDY.format(family="mlp").replace("trials = 8", "trials = 24"))
    return load_study(path)


def test_no_recorded_point_contradicts_itself_in_the_space(study: Study) -> None:
    found = prior_scores(study, "classification")
    assert found is not None
    for point in found.points:
        read_recipe(complete_params(study, point))
    kinds = {(point["penalty.kind"], point["weight_decay.profile"]) for point in found.points}
    assert {("l2", "none"), ("none", "fixed")} <= kinds


def test_only_a_search_that_begins_with_the_portfolio_and_has_one_objective_has_a_prior(study: Study) -> None:
    def with_search(**changed: Any) -> Study:
        return study.model_copy(update={"search": study.search.model_copy(update=changed)})

    assert prior_scores(with_search(start="none"), "classification") is None
    assert prior_scores(with_search(method="gp"), "classification") is None
    assert prior_scores(with_search(method="gp", start="portfolio"), "classification") is not None
    assert prior_scores(with_search(method="tpe", start="portfolio"), "classification") is None
    several = study.objective.model_copy(update={"metrics": ("val_loss", "parameters")})
    assert prior_scores(study.model_copy(update={"objective": several}), "classification") is None


def without_a_score(text: str) -> str:
    content = json.loads(text)
    content["families"]["mlp"]["scores"]["classification"].pop()
    return json.dumps(content)


@pytest.mark.parametrize("damage", [lambda text: text[:1000], without_a_score], ids=["truncated", "without a score"])
def test_damaged_scores_are_refused_with_the_remedy_and_missing_ones_are_none(
    damage: Callable[[str], str], study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "recorded_scores.json"
    monkeypatch.setattr("nightune.tuning.search.recorded_scores.FILE", file)
    assert prior_scores(study, "classification") is None
    file.write_text(damage(SHIPPED))
    with pytest.raises(StudyError, match=r"search.start: .*recorded_scores.json is damaged; reinstall"):
        prior_scores(study, "classification")
