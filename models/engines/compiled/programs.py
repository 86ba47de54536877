"""The programs of an engine: which recipes share one, each compiled once, with its data on the device."""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import keras
from cachetools import LRUCache

from nightune.models.data.dataset import Dataset
from nightune.models.engines.compiled.alike_models import AlikeModels
from nightune.models.engines.compiled.arrays import Data, padded_rows
from nightune.models.engines.compiled.compiled_program import Backend, CompiledProgram
from nightune.models.engines.compiled.first_calls import FirstCalls
from nightune.models.engines.compiled.initial_weights import InitialWeights
from nightune.models.engines.compiled.program import Form, Program
from nightune.models.engines.keras_parts.recipe_models import build_recipe_model
from nightune.models.engines.refusals import refuse_own_steps
from nightune.models.networks.coupling import is_separable, normalizations_alone, predicts_rows_apart
from nightune.models.networks.embedding_ids import refuse_ids_outside_tables
from nightune.models.recipe.recipe import Recipe
from nightune.models.serving.input_trees import map_arrays
from nightune.models.training.engine import Compilation
from nightune.models.training.graph_key import graph_key, program_key
from nightune.models.training.model_key import code_of
from nightune.models.training.row_weights import ClassWeights
from nightune.models.training.settled_heads import SettledHeads

CACHED_PROGRAMS = 32  # least recently used first out; each holds a model, its slots and its compiled functions


class Programs:
    """The programs of one data set, by their keys; they hold some rules beside each other, None for all."""

    def __init__(
        self, dataset: Dataset, folder: Path, backend: Backend, maximum: int, rules: frozenset[str] | None
    ) -> None:
        self.rules = rules
        self._dataset, self._folder, self._backend = dataset, folder, backend
        self.heads = SettledHeads(dataset, folder, self._build)
        self._alike = AlikeModels(self._build, folder)
        self._cached: LRUCache[tuple[str, str], CompiledProgram] = LRUCache(maximum)
        self._first_calls: list[FirstCalls] = []  # of all programs, also those that are no longer cached
        # By kind of head, which determines the form of the targets, and whether validation rows are padded.
        self._data: dict[tuple[str, bool], Data] = {}
        # Of the programs that a fold shares, and whose data set has all folds.
        self._compile_whole: Callable[[Recipe], CompiledProgram] | None = None
        self._whole = dataset

    def __len__(self) -> int:
        return len(self._cached)

    def values(self) -> list[CompiledProgram]:
        """Return the cached programs."""
        return list(self._cached.values())

    @property
    def compilation(self) -> Compilation:
        """The functions of all programs so far, and the seconds of their first calls."""
        calls = self._first_calls
        return Compilation(sum(each.functions for each in calls), sum(each.seconds for each in calls))

    def of(self, recipe: Recipe) -> CompiledProgram:
        """Return the cached program of the recipe's key and of Keras' current dtype policy, or compile it."""
        recipe = self._alike.leader(recipe)
        shared, own = self._keys(recipe)
        if compiled := self._cached.get(shared) or self._cached.get(own):
            return compiled
        compiled = self._compile(recipe)
        self._cached[shared if compiled.program.has_shared_rules else own] = compiled
        return compiled

    def has(self, recipe: Recipe) -> bool:
        """Return whether the recipe's program is cached."""
        return any(key in self._cached for key in self._keys(self._alike.leader(recipe)))

    def count(self, recipes: Sequence[Recipe]) -> int:
        """Return the number of programs of these recipes, without those whose models cannot be built."""
        keys = set()
        for recipe in (phase for each in recipes for phase in each.phases):
            with suppress(Exception):  # a user's model may raise anything; its trials will report it
                keys.add(self._keys(self._alike.leader(recipe))[0])
        return len(keys)

    def is_shared_by(self, one: Recipe, other: Recipe) -> bool:
        """Return whether two recipes whose parameters of the model differ share a program."""
        return self._alike.leader(one).model == self._alike.leader(other).model

    def of_fold(self, dataset: Dataset) -> "Programs":
        """Return the programs for a fold: those of the whole, whose arrays have room for every fold."""
        fold = copy.copy(self)
        fold._dataset, fold._data, fold._compile_whole = dataset, {}, self.of
        fold._cached = LRUCache(self._cached.maxsize)
        return fold

    def _build(self, recipe: Recipe, seed: int) -> keras.Model:
        return build_recipe_model(recipe, self._dataset, self._folder, seed)

    def _keys(self, recipe: Recipe) -> tuple[tuple[str, str], tuple[str, str]]:
        """Return the keys of a program that several rules share, and of one of its own, with Keras' dtype policy."""
        policy, code = keras.config.dtype_policy().name, code_of(recipe, self._folder)
        shared = program_key(recipe, code, self.rules)
        return (policy, shared), (policy, graph_key(recipe, code))

    def _compile(self, recipe: Recipe) -> CompiledProgram:
        if self._compile_whole is not None:
            compiled = self._compile_whole(recipe)
            program = compiled.program.with_classes(ClassWeights(self._dataset))
            return compiled.with_data(program, self._put_data(program))
        initial = None if recipe.is_fine_tuning else InitialWeights(partial(self._build, recipe))
        model = self._build(recipe, 0)
        refuse_own_steps(model, recipe)
        refuse_ids_outside_tables(model, self._dataset)
        head, rows = self.heads.read(recipe, model), self.heads.rows.inputs
        has_folds, rates = bool(self._dataset.folds), self._alike.rates
        is_apart = has_folds and predicts_rows_apart(model, rows)
        shared, own = (" · ".join(key) for key in self._keys(recipe))
        form = Form(
            is_separable(model, rows),
            predicts_rows_apart=is_apart,
            own_rates=rates,
            rules=self.rules,
            normalizations=normalizations_alone(model),
            keys=(shared, own),
        )
        program = Program(model, head, recipe, initial, ClassWeights(self._dataset), form)
        compiled = self._backend.compile(program, self._put_data(program))
        self._first_calls.append(compiled.first_calls)
        return compiled

    def _put_data(self, program: Program) -> Data:
        """Return the data on the device, with the shapes of the whole's folds, so that these share programs.

        Validation rows stay as they are where padding may change the outputs of the others.
        """
        head, train, validation, whole = program.head, self._dataset.train, self._dataset.validation, self._whole
        is_padded = program.predicts_rows_apart
        if (head.kind, is_padded) not in self._data:
            held_out = max(len(fold.validation) for fold in whole.folds) if is_padded else len(validation)
            inputs = map_arrays(lambda array: padded_rows(array, len(whole.train)), train.inputs)
            targets = padded_rows(train.targets, len(whole.train))
            held = map_arrays(lambda array: padded_rows(array, held_out), validation.inputs)
            weights = None if train.weights is None else padded_rows(train.weights, len(whole.train))
            data = Data(inputs, head.targets(targets), held, weights)
            self._data[head.kind, is_padded] = self._backend.put_data(data)
        return self._data[head.kind, is_padded]
