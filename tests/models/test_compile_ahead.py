"""Compiled beside other work, a program trains as one that its first training compiles."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.make import make_engine
from nightune.models.recipe.recipe import Recipe
from nightune.models.training.compile_ahead import compile_ahead
from nightune.models.training.engine import COMPILED_ENGINES
from nightune.models.training.plan import EpochPlan
from nightune.models.training.seeds import Seeds
from tests.models.conftest import BACKEND, MakeDataset

HERE = Path()
MakeRecipe = Callable[..., Recipe]
MakePlan = Callable[..., EpochPlan]


def setup_module() -> None:
    """Import modules that import Keras: when the tests run, not when they are collected."""
    global Ahead, ahead_module
    from nightune.models.engines.compiled import ahead as ahead_module
    from nightune.models.engines.compiled.ahead import Ahead


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    return make_dataset()


def trained(engine: Any, recipe: Recipe, plan: EpochPlan) -> list[np.ndarray]:
    state, output = engine.run_epoch(engine.start(recipe, Seeds(1, 2, 3)), plan)
    return [*engine.weights(state), np.array([output.loss]), output.outputs]


def test_a_program_that_was_compiled_ahead_trains_the_same_and_is_compiled_once(
    dataset: Dataset, recipe: MakeRecipe, make_plan: MakePlan
) -> None:
    given, plan = recipe(optimizer="adam", model__dropout=0.2), make_plan(sizes=[22], rates=0.01)
    ahead, usual = (make_engine(COMPILED_ENGINES[BACKEND], dataset, HERE) for _ in range(2))
    engine: Any = ahead
    assert not engine.has_program(given)
    assert engine.would_compile(given, plan)
    compile_ahead(engine, given, dataset, epochs=3)
    compile_ahead(engine, given, dataset, epochs=3)
    assert engine.has_program(given)
    assert not engine.would_compile(given, plan)
    assert engine.compilation.functions == 0
    for _ in range(2):
        for one, other in zip(trained(ahead, given, plan), trained(usual, given, plan), strict=True):
            np.testing.assert_array_equal(one, other)
    assert engine.compilation.functions == 1
    assert not engine.would_compile(given, plan)
    assert engine.would_compile(given, make_plan(sizes=[2] * 11))  # a block of other size
    (program,) = engine._programs.values()
    if BACKEND == "tensorflow":
        assert [each.experimental_get_tracing_count() for each in program._train.values()] == [1]
    else:
        assert len(program._executables) == 1


def test_errors_are_left_to_the_training(dataset: Dataset, user_model: Callable[[str], str], tmp_path: Path) -> None:
    from nightune.models.recipe.params import read_recipe

    broken = read_recipe({"model.architecture": user_model("def build(input_shape, output_size):\n    1 / 0\n")})
    engine = make_engine(COMPILED_ENGINES[BACKEND], dataset, tmp_path)
    compile_ahead(engine, broken, dataset, epochs=1)
    with pytest.raises(ValueError, match="division by zero"):
        engine.start(broken, Seeds(1, 2, 3))
    compile_ahead(make_engine("fit", dataset, tmp_path), broken, dataset, epochs=1)  # which compiles no program


def test_a_function_is_begun_once_and_one_that_failed_is_compiled_by_its_first_call() -> None:
    calls, begun = FirstCalls(), []
    ahead = Ahead(calls)

    def trace(result: Any) -> Callable[[], Callable[[], Any]]:
        begun.append(result)
        return lambda: result / 1

    for function, result in (("one", 4), ("one", 5), ("failed", "text")):
        ahead.start(function, lambda result=result: trace(result))  # type: ignore[misc]
    assert begun == [4, "text"]
    assert (ahead.take("one"), ahead.take("one"), ahead.take("failed")) == (4.0, None, None)
    with calls.measured("called"):
        pass
    ahead.start("called", lambda: trace(6))
    assert begun == [4, "text"]
    assert calls.seconds >= 0.0


def test_functions_are_compiled_one_after_the_other_and_those_that_wait_not_at_the_end_of_the_process() -> None:
    calls, order, released = FirstCalls(), list[str](), threading.Event()
    ahead, other = Ahead(calls), Ahead(FirstCalls())
    ahead.start("slow", lambda: lambda: (released.wait(), order.append("slow")))
    other.start("next", lambda: lambda: order.append("next"))
    assert (ahead.is_new("slow"), ahead.is_new("next"), order) == (False, True, [])
    released.set()
    other.take("next")
    assert order == ["slow", "next"]
    released.clear()
    ahead.start("running", lambda: released.wait)
    ahead.start("waiting", lambda: lambda: "compiled")
    threading.Timer(0.1, released.set).start()
    wait: Any = ahead_module._wait_for_threads
    wait()
    assert (ahead.take("running"), ahead.take("waiting")) == (True, None)


def test_a_program_that_no_epoch_runs_is_not_begun(dataset: Dataset) -> None:
    from nightune.models.recipe.params import read_recipe

    class Begun:
        recipes: ClassVar[list[Recipe]] = []

        def has_program(self, _recipe: Recipe) -> bool:
            return False

        def compile_ahead(self, recipe: Recipe, _plan: EpochPlan) -> None:
            self.recipes.append(recipe)

    for unfreeze_at in (1, 2):
        params = {"training.freeze": ["base"], "training.unfreeze_at": unfreeze_at}
        compile_ahead(Begun(), read_recipe(params), dataset, epochs=3)
    assert [recipe.training.unfreeze_at for recipe in Begun.recipes] == [2]


def test_the_end_of_a_process_waits_for_a_compilation_and_says_so_and_ctrl_c_ends_the_wait(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released, ended = threading.Event(), list[int]()
    monkeypatch.setattr(ahead_module, "end_process", ended.append)
    wait: Any = ahead_module._wait_for_threads
    wait()
    assert "waiting" not in capsys.readouterr().err
    ahead = Ahead(FirstCalls())
    ahead.start("slow", lambda: released.wait)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        wait()
    assert ended == [ahead_module.INTERRUPTED]
    assert capsys.readouterr().err.count("waiting for a compilation") == 1
    threading.Timer(0.1, released.set).start()
    wait()
    assert (ahead.take("slow"), len(ended)) == (True, 1)


def interrupted(_thread: threading.Thread) -> None:
    raise KeyboardInterrupt
