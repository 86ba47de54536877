"""Every mistake in a study file gives one line that names the key, the mistake and the allowed values."""

import pytest

from tests.tuning.conftest import Read, Refuse, has_parts, study_text

OPTIMIZERS = "(known: adam, adamw, gd, sgd)"
METRICS = (
    "(known: val_loss, val_accuracy, val_label_accuracy, val_balanced_accuracy, val_f1_macro, val_f1_micro, val_auc, "
    "val_mae, val_rmse, val_r2, val_pr_auc, val_mcc, val_top_3, val_top_5, val_brier, val_log_loss, val_mean_iou, "
    "val_mape, val_spearman, val_mae_original, val_rmse_original, val_pinball_0.9)"
)
ABOVE_0 = "(allowed: a number above 0)"
SECTIONS = (
    "(known: name, question, seed, data, model, space, stopping, training, search, objective, limits, confirmation, "
    "promotion)"
)

BROKEN_PARAMETERS = {
    'optimizer = "adamv"': f"optimizer: unknown 'adamv'; did you mean 'adamw'? {OPTIMIZERS}",
    'optimizer = ["sgd", "Adam"]': f"optimizer: unknown 'Adam'; did you mean 'adam'? {OPTIMIZERS}",
    "optimizer = []": "optimizer: has no options",
    "optimizer = {}": "optimizer: has no value (allowed: one of value, options, or low and high)",
    'optimizer = ["sgd", "sgd"]': "optimizer: the option 'sgd' is given twice",
    "optimizer = { low = 1, high = 2 }": f"optimizer: … range … numbers … {OPTIMIZERS}",
    'optimiser = "sgd"': "optimiser: unknown parameter; did you mean 'optimizer'? (known: optimizer, "
    "one_minus_momentum, nesterov, learning_rate.peak, learning_rate.schedule, learning_rate.final_fraction, "
    "batch_size.policy, batch_size.size, batch_size.growth, weight_decay.profile, weight_decay.strength, "
    "stopping.rule, stopping.patience, stopping.target, model.architecture, model.units, model.dropout)",
    "learning_rate.peek = 0.1": "learning_rate.peek: unknown parameter; did you mean 'learning_rate.peak'? "
    "(known: learning_rate.peak, learning_rate.schedule, learning_rate.final_fraction)",
    "learning_rate.value = 0.1": "learning_rate.value: unknown parameter "
    "(known: learning_rate.peak, learning_rate.schedule, learning_rate.final_fraction)",
    "model.filters = [[16]]": "model.filters: unknown parameter "
    "(known: model.architecture, model.units, model.dropout)",
    'model.architecture = "mpl"': "model.architecture: unknown 'mpl' (known: mlp, cnn)",
    "model.architecture = 3": "model.architecture: 3 is not a text "
    "(allowed: the name of an architecture, or path/to/file.py:function)",
    'model.architecture = ["mlp", "cnn"]\nmodel.dropout = 0.95': "model.dropout: 0.95 is out of range "
    "(allowed: a number from 0 up to 1)",
    "learning_rate.peak = 0": f"learning_rate.peak: 0 is out of range {ABOVE_0}",
    'learning_rate.peak = "fast"': f"learning_rate.peak: 'fast' is not a number {ABOVE_0}",
    "learning_rate.peak = nan": "learning_rate.peak: nan is not a value "
    "(allowed: numbers, texts, true, false, and lists of them)",
    "learning_rate.peak = 2026-01-01": "learning_rate.peak: 2026-01-01 is not a value "
    "(allowed: numbers, texts, true, false, and lists of them)",
    "learning_rate.peak = { low = 0.1, high = 0.01 }": "learning_rate.peak: low 0.1 is not below high 0.01",
    'learning_rate.peak = { low = 0, high = 1, scale = "log" }': "learning_rate.peak: low 0.0 … logarithm … "
    "low above 0|learning_rate.peak.low: 0.0 is out of range " + ABOVE_0,
    'learning_rate.peak = { low = 0.1, high = 1, scale = "logg" }': "learning_rate.peak: unknown scale 'logg'; "
    "did you mean 'log'? (known: linear, log)",
    "learning_rate.peak = { low = 0.1, high = inf }": "learning_rate.peak.high: inf is not a finite number",
    'learning_rate.peak = { low = "small", high = 1 }': "learning_rate.peak.low: 'small' is not a number",
    "learning_rate.peak = { low = 0.1, high = 1, steps = 1 }": "learning_rate.peak: steps 1 is out of range "
    "(allowed: 2 to 10000, both ends included)",
    "learning_rate.peak = { low = 0.1, high = 1, steps = 2.5 }": "learning_rate.peak.steps: 2.5 is not a whole number "
    "(allowed: from 2)",
    "learning_rate.peak = { low = 0.1, hihg = 1 }": "learning_rate.peak.hihg: unknown field; did you mean 'high'? "
    "(known: value, options, low, high, scale, integer, steps, when)|learning_rate.peak.high: missing; "
    "a range has low and high",
    "learning_rate.peak = { low = 0.1, high = 1, value = 0.3 }": "learning_rate.peak: is given as value and a range; "
    "choose one",
    "learning_rate.peak = { low = 0.1, high = 1, integer = 1 }": "learning_rate.peak.integer: 1 is not true or false",
    "batch_size.size = { low = 1.5, high = 8 }": "batch_size.size: 1.5 is not a whole number|"
    "batch_size.size.low: 1.5 is not a whole number (allowed: a whole number from 1)",
    "batch_size.size = { low = 0, high = 8 }": "batch_size.size.low: 0 is out of range "
    "(allowed: a whole number from 1)",
    "batch_size.size = [16, 0]": "batch_size.size: 0 is out of range (allowed: a whole number from 1)",
    "batch_size.size = { options = 16 }": "batch_size.size.options: 16 is not a list",
    f"batch_size.size = {10**30}": "batch_size.size: a number of more than 64 bits is not a value "
    "(allowed: numbers, texts, true, false, and lists of them)",
    "nesterov = 1\noptimizer = 'sgd'": "nesterov: 1 is not true or false (allowed: true, false)",
    'learning_rate.peak = 0.1\n"learning_rate.peak" = 0.2': "learning_rate.peak: given twice; keep one",
    "stopping.patience = 3\n[stopping]\npatience = 5": "stopping.patience: given twice … "
    "[stopping] or in [space] … keep one",
}

BROKEN_CONDITIONS = {
    'learning_rate.peak = { value = 0.1, when = { optimiser = "sgd" } }\noptimizer = ["sgd", "adam"]': (
        "learning_rate.peak.when: 'optimiser' … parameter; did you mean 'optimizer'? "
        "(in this study: learning_rate.peak, optimizer, model.architecture)"
    ),
    'learning_rate.peak = { value = 0.1, when = { optimizer = "sgd" } }': (
        "learning_rate.peak.when: 'optimizer' is not in this study … "
        "(in this study: learning_rate.peak, model.architecture)"
    ),
    'learning_rate.peak = { value = 0.1, when = { optimizer = "gd" } }\noptimizer = ["sgd", "adam"]': (
        "learning_rate.peak.when: optimizer … 'gd'; did you mean 'sgd'? … sgd, adam)"
    ),
    "learning_rate.peak = { value = 0.1, when = { optimizer = [] } }\noptimizer = ['sgd', 'adam']": (
        "learning_rate.peak.when: optimizer has no values"
    ),
    "stopping.patience = { value = 3, when = { stopping.rule = 'patience', 'stopping.rule' = 'combined' } }": (
        "stopping.patience.when: stopping.rule … twice; keep one"
    ),
    "learning_rate.peak = { value = 0.1, when = 'sgd' }": (
        'learning_rate.peak.when: \'sgd\' is not a condition (write { NAME = ["one value", "another"] })'
    ),
    "learning_rate.peak = {low = 0.1, high = 1}\noptimizer = {value = 'gd', when = {learning_rate.peak = 0.5}}": (
        "optimizer.when: learning_rate.peak is a range of real numbers; a condition needs a parameter with options"
    ),
    "optimizer = { options = ['sgd', 'adam'], when = { learning_rate.schedule = 'step' } }\n"
    "learning_rate.schedule = { options = ['step', 'fixed'], when = { optimizer = 'sgd' } }": (
        "learning_rate.schedule.when: circular … learning_rate.schedule → optimizer → learning_rate.schedule"
    ),
    "optimizer = { options = ['sgd', 'adam'], when = { nesterov = true } }\nnesterov = [true, false]": (
        "nesterov.when: circular … nesterov → optimizer → nesterov"
    ),
    "nesterov = true": ("nesterov: has no effect: … optimizer is sgd … adam by default … nesterov"),
    "optimizer = ['adam', 'adamw']\nnesterov = true": (
        "nesterov: has no effect: … optimizer is sgd … adam, adamw … nesterov"
    ),
    "weight_decay.strength = 0.1": (
        "weight_decay.strength: has no effect: … weight_decay.profile is fixed or tied … "
        "none by default … weight_decay.strength"
    ),
    "stopping.rule = ['patience', 'target']": (
        "stopping.target: missing … no default … stopping.rule is target (allowed: a number)"
    ),
    "optimizer = ['sgd', 'adam']\nstopping.rule = 'target'\n"
    "stopping.target = { value = 0.9, when = { optimizer = 'sgd' } }": (
        "stopping.target.when: … no default … stopping.rule is target"
    ),
    "optimizer = 'gd'\nbatch_size.size = 16": (
        "batch_size.size: has no effect: … optimizer is adam or adamw or sgd … gd … batch_size.size"
    ),
    "optimizer = ['sgd', 'adam']\nnesterov = { value = true, when = { optimizer = 'adam' } }": (
        "nesterov: has no effect: … optimizer"
    ),
    "optimizer = ['sgd', 'adam']\nlearning_rate.schedule = {options = ['step', 'cosine'], when = {optimizer = 'sgd'}}\n"
    "learning_rate.peak = {value = 1, when = {learning_rate.schedule = 'step', optimizer = 'adam'}}": (
        "learning_rate.peak: has no effect: … optimizer"
    ),
}

BROKEN_DATA = {
    "": "data.source: missing (needed: a text)",
    "source = 3": "data.source: 3 is not a text",
    "source = ''": "data.source: '' is not a text",
    "source = 'iris'\ntarget = ['a', 3]": "data.target: ['a', 3] is not the name of a column, or a list of names",
    "source = 'iris'\ntarget = []": "data.target: [] is not the name of a column",
    "source = 'iris'\ntarget = ''": "data.target: '' is not the name of a column",
    "source = 'iris'\ntarget = ['a', 'a']": "data.target: ['a', 'a'] names a column twice",
    "source = 'iris'\ntargt = 'y'": "data.targt: unknown key; did you mean 'target'? (known: source, target",
    "source = 't.csv'\nseparator = ';;'": "data.separator: ';;' is not one sign",
    "source = 't.csv'\ndecimal = ';'": "data.decimal: unknown ';'",
    "source = 't.csv'\nencoding = 'utf-9'": "data.encoding: 'utf-9' is not",
    "source = 't.h5'\narrays = { x = 1 }": "data.arrays: 1 is not a table of names",
    "source = 'a.py:f'\narguments = [1]": "data.arguments: [1] is not a table",
    "source = 'a.py:f'\narguments = { a = nan }": "data.arguments: … is not a table",
    "source = 'a.py:f'\npad = 'post'": "data.pad: 'post' is not one of start, end",
    "source = 'a.py:f'\npad = { length = 3 }": "data.pad: {'length': 3} is not one of start, end",
    "source = 'images'\nimage_size = 64": "data.image_size: 64 is not a height and a width",
    "source = 'images'\nimage_color = 'gray'": "data.image_color: unknown 'gray'; did you mean 'grey'?",
    "source = 'iris'\ntask = 'regresion'": "data.task: unknown 'regresion'; did you mean 'regression'? "
    "(known: classification, binary, multiclass, multilabel, positions, regression)",
    "source = 'iris'\ndrop = 'id'": "data.drop: 'id' is not a list of texts",
    "source = 'iris'\ndrop = ['id', 3]": "data.drop: 3 is not a list of texts",
    "source = 't.csv'\nmissing = 'NA'": "data.missing: 'NA' is not a list of texts … missing = [\"NA\"]",
    "source = 't.csv'\nmissing = [-999, 'NA']": 'data.missing: [-999, \'NA\'] … quotes … missing = ["-999", "NA"]',
    "source = 't.csv'\nmissing = { a = 1 }": "data.missing: {'a': 1} is not a list of texts",
    "source = 'iris'\nsplit = 0.2": "data.split: 0.2 is not a table (write [data.split])",
    "source = 'iris'\nsplit = { kind = 'groups' }": "data.split.kind: unknown 'groups'; did you mean 'group'? "
    "(known: random, stratified, group, time, fixed)",
    "source = 'iris'\nsplit = { test = 1 }": "data.split.test: 1 is not … between 0 and 1",
    "source = 'iris'\nsplit = { validation = 0.5, test = 0.5 }": "data.split: validation 0.5 and test 0.5 … "
    "train … (allowed: a sum below 1)",
    "source = 'iris'\nsplit = { kind = 'time' }": "data.split.column: missing; a time split needs the name of its "
    "column",
    "source = 'iris'\nsplit = { kind = 'fixed' }": "data.split.column: missing; … files",
    "source = 'iris'\nsplit = { test = 'test.csv' }": "data.split.test: 'test.csv' is a file … \"fixed\"",
    "source = 'iris'\nsplit = { kind = 'fixed', column = 'p', test = 't.csv' }": "data.split.test: 't.csv' is a file … "
    "without a column",
    "source = 'iris'\nsplit = { test = true }": "data.split.test: true is not … between 0 and 1 … file",
    "source = 'a.npz'\nsplit = { gap = 3 }": 'data.split.gap: 3 … "time"',
    "source = 'a.npz'\nsplit = { folds = 1 }": "data.split.folds: 1 is not a whole number from 2",
    "source = 'a.npz'\nsplit = { folds = 2.5 }": "data.split.folds: 2.5 is not a whole number from 2",
    "source = 'a.npz'\nsplit = { folds = 5, validation = 0.2 }": "data.split.validation: 0.2 … folds",
    "source = 'a.npz'\nsplit = { folds = 5, ranking = 0.1 }": "data.split.ranking: 0.1 … folds",
    "source = 'a.npz'\nsplit = { folds = 5, kind = 'fixed' }": "data.split.folds: 5 … 'random'",
    "source = 'a.npz'\nsplit = { kind = 'time', gap = 'long' }": "data.split.gap: 'long' … rows … \"7 days\"",
    "source = 'a.npz'\nsplit = { kind = 'time', allow_overlap = true }": "data.split.allow_overlap: true … 'time'",
    "source = 'iris'\nsplit = { column = 'day' }": "data.split.column: 'day' … 'group' or 'time'",
    "source = 'iris'\nsplit = { seed = -1 }": "data.split.seed: -1 is not a whole number from 0 to 4294967295",
}

BROKEN_SEARCH = {
    "trials = 4": "search.epochs: missing (needed: a whole number from 1 to 1000000)",
    "epochs = 4": "search.trials: missing … automatic … default",
    "method = 'random'\nepochs = 4": "search.trials: missing … random",
    "trials = 4\nepochs = 0": "search.epochs: 0 is not a whole number from 1 to 1000000",
    "trials = 0\nepochs = 4": "search.trials: 0 is not a whole number from 1 to 1000000",
    "trials = 4.0\nepochs = 4": "search.trials: 4.0 is not a whole number from 1 to 1000000",
    "trials = '4'\nepochs = 4": "search.trials: '4' is not a whole number from 1 to 1000000",
    "method = 'rnadom'\ntrials = 4\nepochs = 4": "search.method: unknown 'rnadom'; did you mean 'random'? "
    "(known: random, grid, successive_halving, hyperband, gp, tpe, auto, pbt)",
    "method = 'grid'\ntrials = 4\nepochs = 4": "search.trials: 4 … grid … 'random'",
    "trials = 4\nepochs = 4\nreuse = 1": "search.reuse: 1 is not true or false",
    "trials = 4\nepochs = 4\n[objective]\nmetric = 'val_acuracy'": "objective.metric: unknown 'val_acuracy'; "
    f"did you mean 'val_accuracy'? {METRICS}",
    "trials = 4\nepochs = 4\n[objective]\nmetric = 'val_pinball'": "objective.metric: unknown "
    "'val_pinball'; … quantile … val_pinball_0.9)",
    "trials = 4\nepochs = 4\n[objective]\nmetric = 'val_pinball_0.999'": "objective.metric: unknown "
    "… 0.995) … val_pinball_0.9)",
    "trials = 4\nepochs = 4\n[objective]\nmetric = 'accuracy'": "objective.metric: 'accuracy' is not a metric of the "
    f"validation split; did you mean 'val_accuracy'? {METRICS}",
    "trials = 4\nepochs = 4\n[objective]\nmetric = 'val_accuracy'\ndirection = 'minimize'": "objective.direction: "
    "'minimize' … val_accuracy … maximized",
    "trials = 4\nepochs = 4\n[objective]\ndirection = 'min'": "objective.direction: unknown 'min'; "
    "did you mean 'minimize'? (known: minimize, maximize)",
    "trials = 4\nepochs = 4\n[objetive]": f"objetive: unknown section or key; did you mean 'objective'? {SECTIONS}",
}


@pytest.mark.parametrize(("space", "expected"), (BROKEN_PARAMETERS | BROKEN_CONDITIONS).items())
def test_a_broken_parameter_is_named(refuse: Refuse, space: str, expected: str) -> None:
    lines = refuse(study_text(space))
    assert all(has_parts(*pair) for pair in zip(lines, expected.split("|"), strict=True)), lines


@pytest.mark.parametrize(("data", "expected"), BROKEN_DATA.items())
def test_a_broken_data_section_is_named(refuse: Refuse, data: str, expected: str) -> None:
    (line,) = refuse(study_text(data=data))
    assert has_parts(line, expected), line


@pytest.mark.parametrize(("search", "expected"), BROKEN_SEARCH.items())
def test_a_broken_search_is_named(refuse: Refuse, search: str, expected: str) -> None:
    (line,) = refuse(study_text(search=search))
    assert has_parts(line, expected), line


@pytest.mark.parametrize(("section", "written"), [("search", "serach"), ("space", "spcae")])
def test_a_misspelled_section_is_named_alone(refuse: Refuse, section: str, written: str) -> None:
    (line,) = refuse(study_text("learning_rate.peak = 0.1").replace(f"[{section}]", f"[{written}]"))
    assert has_parts(line, f"{written}: … '{section}'"), line


def test_a_grid_over_a_range_needs_steps(refuse: Refuse, read: Read) -> None:
    search = "method = 'grid'\nepochs = 2"
    peak = "learning_rate.peak = { low = 0.1, high = 1%s }"
    (line,) = refuse(study_text(peak % "", search=search))
    assert has_parts(line, "learning_rate.peak: … steps = 5 … options"), line
    assert read(study_text(peak % ", steps = 3", search=search)).brackets[0].rungs[0].trials == 3


def test_a_grid_of_more_than_a_million_points_is_refused_with_its_size(refuse: Refuse) -> None:
    space = "\n".join(
        f"{name} = {{ low = 0.1, high = 1, steps = 200 }}"
        for name in ("learning_rate.peak", "model.dropout", "one_minus_momentum")
    )
    assert refuse(study_text(space + "\noptimizer = 'sgd'", search="method = 'grid'\nepochs = 2")) == [
        "search.method: a grid of 8000000 points is too large (allowed: up to 1000000)"
    ]


def test_all_problems_are_reported_together(refuse: Refuse) -> None:
    text = """
    sed = 3
    [data]
    split = { kind = "group", test = 2.0 }
    [model]
    unit = 3
    [space]
    optimizer = ["sgd", "adamv"]
    learning_rate.peak = { low = 1, high = 0.1 }
    nesterov = { value = true, when = { optimiser = "sgd" } }
    [search]
    metod = "grid"
    [objective]
    metric = "loss"
    """
    assert [line.split(":")[0] for line in refuse(text)] == [
        "question",
        "sed",
        "data.source",
        "data.split.test",
        "data.split.column",
        "model.unit",
        "optimizer",
        "learning_rate.peak",
        "nesterov.when",
        "search.epochs",
        "search.metod",
        "search.trials",
        "objective.metric",
    ]


@pytest.mark.parametrize(
    ("section", "expected"),
    {
        "[confirmation]\nreplicates = 1": "confirmation.replicates: 1 is not a whole number from 2 to 100",
        "[confirmation]\nfinalist = 3": (
            "confirmation.finalist: unknown key; did you mean 'finalists'? "
            "(known: finalists, replicates, cost, confidence)"
        ),
        "[confirmation]\ncost = 'money'": "confirmation.cost: unknown 'money' (known: parameters, seconds)",
        "[promotion]\nminimum_gain = -1": "promotion.minimum_gain: -1 is not a number from 0",
        "[promotion]\nconfidence = 95": "promotion.confidence: 95 is not … between 0 and 1",
        "[promotion]\nsize_limit_mb = 0": "promotion.size_limit_mb: 0 is not a number above 0",
    }.items(),
)
def test_a_broken_section_after_the_search_is_named(refuse: Refuse, section: str, expected: str) -> None:
    (line,) = refuse(f"{study_text()}{section}\n")
    assert has_parts(line, expected), line


def test_shares_that_leave_nothing_to_train_on_are_named_with_the_ranking(refuse: Refuse) -> None:
    data = "source = 'iris'\nsplit = { validation = 0.4, ranking = 0.3, test = 0.3 }"
    (line,) = refuse(study_text(data=data))
    assert has_parts(line, "data.split: validation 0.4, ranking 0.3 and test 0.3 … (allowed: a sum below 1)"), line
