"""The description of a version: verdict, score on the test split in the study's unit, how to load it."""

from dataclasses import replace

from nightune.tasks.tracking.registry.description import description_of, description_of_model
from nightune.tasks.tracking.registry.registry import describe_model
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tuning.analysis.metric_values import MetricValues
from nightune.tuning.analysis.promotion_gate import Decision
from tests.tasks.nights import verdict


def test_a_description_has_verdict_scores_intervals_and_how_to_load() -> None:
    text = description_of(verdict(Decision.PROMOTED), 4)
    for words in ("**Promoted**", "val_accuracy 0.97", "champion 0.96", "[-0.002, 0.022]", "models:/flowers/4"):
        assert words in text
    assert "units of the target" not in text
    assert "because it was asked" in description_of(verdict(Decision.FORCED, because="it was asked"), 4).replace(
        ":", ""
    )


def test_quantities_are_in_units_of_the_target() -> None:
    values = MetricValues("val_mae", "minimize", 43.0, 70.0)
    text = description_of(verdict(Decision.PROMOTED, against=None, values=values), 1)
    assert text.count("units of the target") == 2  # of the value, and of the gain


def test_a_metric_of_the_user_has_no_unit_of_a_built_in_one() -> None:
    own = MetricValues("val_quantile_mae", "minimize", 43.0, 70.0, is_own=True)
    assert own.unit == ""
    assert "units of the target" not in description_of(verdict(Decision.PROMOTED, against=None, values=own), 1)
    of_head = MetricValues("val_price_mae", "minimize", 43.0, 70.0)
    assert of_head.unit == MetricValues("val_mae", "minimize", 43.0, 70.0).unit != ""


def test_a_long_reason_leaves_room_for_how_to_load_it() -> None:
    text = description_of(replace(verdict(Decision.FORCED, because="y" * 9000), reason="x" * 9000), 1, "z" * 9000)
    assert len(text) <= names.TAG_LENGTH
    assert "models:/flowers/1" in text


def test_a_model_has_the_question_and_how_to_load_and_keeps_what_people_wrote(store: Store) -> None:
    text = description_of_model("flowers", "Which rate is best?")
    client(store).create_registered_model("flowers")
    describe_model(store, "flowers", text)
    held = client(store).get_registered_model("flowers").description
    assert held.startswith("Which rate is best?")
    assert "models:/flowers@champion" in held
    client(store).update_registered_model("flowers", description="Mine.")
    describe_model(store, "flowers", text)
    assert client(store).get_registered_model("flowers").description == "Mine."
