"""The space of a study and the models' reading of params agree on which params are active."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from nightune.models.recipe.params import KEYS, resolve
from nightune.models.techniques.keys import Key
from nightune.tuning.errors import StudyError
from nightune.tuning.search.samplers import random
from nightune.tuning.study.study import Study, load_study
from nightune.tuning.study.vocabulary import Vocabulary
from tests.tuning.conftest import ARCHITECTURES, architecture_keys, unhurried

VOCABULARY = Vocabulary(KEYS, architecture_keys)


@unhurried
@given(st.data(), st.sets(st.sampled_from(sorted(KEYS)), max_size=12))
def test_every_point_is_complete_but_for_inactive_keys(data: st.DataObject, names: set[str]) -> None:
    lines = {
        name: data.draw(st.lists(st.sampled_from(options(KEYS[name])), min_size=1, max_size=3, unique=True))
        for name in sorted(names)
    }
    study = repaired(lines | {"model.architecture": ['"mlp"', '"cnn"'], "model.filters": ["[8]", "[16]"]})
    for point in random(study.space, 10, [], (1, 0)):
        keys = ARCHITECTURES[str(point["model.architecture"])]
        complete = resolve(point, keys)  # type: ignore[arg-type]
        said = {name: value for name, value in point.items() if not (is_silent(name) and value == KEYS[name].default)}
        assert all(complete[name] == value for name, value in said.items())
        assert not set(study.space.by_name) & set(complete) - set(point)


def is_silent(name: str) -> bool:
    return name in KEYS and KEYS[name].is_silent


LISTED = {
    "numbers": ["[0.5]", "[0.1, 0.9]"],
    "names": ['["base"]', '["base", "neck"]', '"none"'],
    "class_weight": ['"none"', '"balanced"', "{ no = 1, yes = 2 }"],
    "head_weights": ['"auto"', "{ digit = 1, ink = 0.3 }"],
    "changes": [
        "{ 5 = { learning_rate.peak = 0.02 } }",
        "{ 2 = { learning_rate.peak = 0.1 }, 9 = { learning_rate.peak = 0.3 } }",
    ],
}


def options(key: Key) -> list[str]:
    if key.kind == "option":
        return [json.dumps(option) for option in key.options]
    if key.kind == "boolean":
        return ["true", "false"]
    if key.kind in LISTED:
        return LISTED[key.kind]
    low = 0.0 if key.low is None else key.low
    high = low + 4 if key.high is None else key.high
    return [str(int(low) + part) if key.kind == "integer" else str(low + (high - low) * part / 4) for part in (1, 2, 3)]


def repaired(lines: dict[str, list[str]]) -> Study:
    """Read the study after adding what is missing and removing what has no effect, as its errors say."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "repaired.toml"
        for _ in range(20):
            space = "\n".join(f"{name} = [{', '.join(values)}]" for name, values in lines.items())
            path.write_text(
                f"question = 'Which?'\ndata.source = 'iris'\nsearch = {{ trials = 1, epochs = 1 }}\n[space]\n{space}"
            )
            try:
                return load_study(path, VOCABULARY)
            except StudyError as error:
                for problem in error.problems:
                    if problem.message.startswith("missing"):
                        lines[problem.key] = options(KEYS[problem.key])[:1]
                    else:
                        assert problem.message.startswith("has no effect")
                        del lines[problem.key]
    raise AssertionError("the errors do not say how to repair the study")
