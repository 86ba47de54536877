"""Check for leakage before training: repeated rows, identifiers, and columns that alone predict the target."""

from collections.abc import Mapping

import numpy as np

from nightune.models.data.inputs import Inputs
from nightune.models.data.splits import Rows
from nightune.models.data.targets import Targets
from nightune.models.serving.input_trees import ArrayTree, arrays_of

MOST_ROWS = 10_000  # sampled for the one-column check
MOST_COLUMNS = 300
MOST_FINDINGS = 8  # of one kind
FEWEST_ROWS = 10  # with fewer validation rows, a column may predict all of them by chance
SUSPECT_SCORE = 0.99
MOST_MAJORITY = 0.95


def leakage_findings(inputs: Inputs, targets: Targets, rows: Rows) -> list[str]:
    """Report duplicates across splits, identifier-like columns and columns that alone predict the target."""
    problems = {
        name: identifier_problem(values) for name, values in inputs.columns.items() if name not in inputs.amounts
    }
    identifiers = [
        f"column {name!r} looks like an identifier ({problem}); {inputs.remedy(name)}"
        for name, problem in problems.items()
        if problem
    ]
    alone = [each for _, each in targets.heads or (("", targets),) if each.values.ndim == 1]
    predictors = [finding for each in alone for finding in predictor_findings(inputs, each, rows)]
    return [*duplicate_findings(inputs.values, rows), *_shortened(identifiers), *_shortened(predictors)]


def duplicate_findings(inputs: ArrayTree, rows: Rows) -> list[str]:
    """Count the rows of each split whose inputs equal those of a row in an earlier split."""
    arrays = arrays_of(inputs)
    hashes = np.array([hash(b"".join(row.tobytes() for row in example)) for example in zip(*arrays, strict=True)])
    earlier, findings = hashes[rows.train], []
    ranking = [] if rows.ranking is None else [("ranking", rows.ranking, "training or validation")]
    for name, index, others in [
        ("validation", rows.validation, "training"),
        *ranking,
        ("test", rows.test, "training, validation or ranking" if ranking else "training or validation"),
    ]:
        count = int(np.isin(hashes[index], earlier).sum())
        if count:
            findings.append(
                f"{count} of {len(index)} {name} rows ({count / len(index):.1%}) have the same inputs as a {others} "
                "row; remove repeated rows, or keep them together with a group split"
            )
        earlier = np.concatenate([earlier, hashes[index]])
    return findings


def identifier_problem(values: np.ndarray) -> str | None:
    """Return why a column looks like an identifier, if its whole numbers or texts are (nearly) all different."""
    if len(values) < 20 or not _may_be_identifier(values[:1000]) or not _may_be_identifier(values):
        return None
    known = values if values.dtype.kind == "O" else values[~np.isnan(values)]
    words = f"{len(_distinct(known))} different values in {len(known)} rows"
    if values.dtype.kind == "O":
        return words
    steps = np.diff(known)
    return f"{words}, counting {'up' if steps[0] > 0 else 'down'}" if (steps > 0).all() or (steps < 0).all() else words


def predictor_findings(inputs: Inputs, targets: Targets, rows: Rows) -> list[str]:
    """Find columns that alone predict the validation targets nearly perfectly; `targets` are one value per row."""
    task, train, validation = targets.task, _sample(rows.train), _sample(rows.validation)
    known, wanted = targets.values[train], targets.values[validation]
    if len(validation) < FEWEST_ROWS or _is_one_sided(wanted, task):
        return []
    measure = "accuracy" if task != "regression" else "R2"
    findings = []
    for name in _columns_to_test(inputs.columns, known, task, train):
        values = inputs.columns[name]
        score = _score(values[train], known, values[validation], wanted, task)
        if score >= SUSPECT_SCORE:
            findings.append(
                f"column {name!r} alone predicts the target of {len(validation)} validation rows with {measure} "
                f"{score:.3f}; if it is unknown at prediction time, {inputs.remedy(name)}"
            )
    return findings


def _shortened(findings: list[str]) -> list[str]:
    more = len(findings) - MOST_FINDINGS
    return findings if more <= 0 else [*findings[:MOST_FINDINGS], f"and {more} more columns like the last one"]


def _may_be_identifier(values: np.ndarray) -> bool:
    if values.dtype.kind == "O":
        return len(_distinct(values)) >= 0.95 * len(values)
    known = values[~np.isnan(values)]
    return len(known) >= 20 and bool((known == np.floor(known)).all()) and len(_distinct(known)) >= 0.99 * len(known)


def _distinct(values: np.ndarray) -> set[object]:
    return set(values.tolist())


def _sample(index: np.ndarray) -> np.ndarray:
    if len(index) <= MOST_ROWS:
        return index
    return np.sort(np.random.default_rng(0).choice(index, MOST_ROWS, replace=False))


def _is_one_sided(targets: np.ndarray, task: str) -> bool:
    """True if a constant prediction is (nearly) perfect."""
    if task == "regression":
        return bool(np.all(targets == targets[0]))
    return bool(np.bincount(targets).max() >= MOST_MAJORITY * len(targets))


def _columns_to_test(columns: Mapping[str, np.ndarray], known: np.ndarray, task: str, train: np.ndarray) -> list[str]:
    """Return all columns, or those of a wide array with the highest F statistic."""
    if len(columns) <= MOST_COLUMNS:
        return list(columns)
    from sklearn.feature_selection import f_classif, f_regression  # noqa: PLC0415 - a second, only for wide arrays

    names = [name for name, values in columns.items() if values.dtype.kind != "O"]
    varying = [name for name in names if np.ptp(np.nan_to_num(columns[name][train])) > 0]
    wide = np.column_stack([np.nan_to_num(columns[name][train]) for name in varying])
    with np.errstate(divide="ignore", invalid="ignore"):  # a column that predicts perfectly has an infinite F
        statistic = (f_regression if task == "regression" else f_classif)(wide, known)[0]
    best = np.argsort(-np.nan_to_num(statistic, nan=np.inf, posinf=np.inf), kind="stable")[:MOST_COLUMNS]
    return [varying[index] for index in best]


def _score(values: np.ndarray, known: np.ndarray, unseen: np.ndarray, wanted: np.ndarray, task: str) -> float:
    """Return the accuracy or R2, on unseen rows, of the best simple rule on one column."""
    if values.dtype.kind == "O":
        predictions = [_by_category(values, known, unseen, task)]
    elif task == "regression":
        predictions = [_by_tree(values, known, unseen, task), _by_line(values, known, unseen)]
    else:
        predictions = [_by_tree(values, known, unseen, task)]
    if task != "regression":
        return max(float(np.mean(prediction == wanted)) for prediction in predictions)
    spread = float(np.sum((wanted - wanted.mean(dtype=np.float64)) ** 2))
    return max(1 - float(np.sum((wanted - prediction) ** 2)) / spread for prediction in predictions)


def _by_category(values: np.ndarray, known: np.ndarray, unseen: np.ndarray, task: str) -> np.ndarray:
    """Predict the majority class or mean of each category, and for an unseen category that of all rows."""

    def typical(targets: np.ndarray) -> float:
        return float(targets.mean()) if task == "regression" else int(np.bincount(targets).argmax())

    labels, groups = np.unique(values, return_inverse=True)
    by_group = np.split(known[np.argsort(groups, kind="stable")], np.cumsum(np.bincount(groups))[:-1])
    table = {label: typical(targets) for label, targets in zip(labels.tolist(), by_group, strict=True)}
    fallback = typical(known)
    return np.array([table.get(value, fallback) for value in unseen.tolist()])


def _by_tree(values: np.ndarray, known: np.ndarray, unseen: np.ndarray, task: str) -> np.ndarray:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor  # noqa: PLC0415 - a second

    depth = 8 if task == "regression" else 4 + int(np.ceil(np.log2(known.max() + 1)))
    make = DecisionTreeRegressor if task == "regression" else DecisionTreeClassifier
    tree = make(max_depth=depth, random_state=0).fit(_fitting(values), known)
    return np.asarray(tree.predict(_fitting(unseen)))


def _fitting(values: np.ndarray) -> np.ndarray:
    """Return one column for scikit-learn's trees, which read float32 and take NaN as missing."""
    limit = float(np.finfo(np.float32).max)
    clipped: np.ndarray = np.clip(values, -limit, limit).reshape(-1, 1)
    return clipped


def _by_line(values: np.ndarray, known: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Predict by the least-squares line, with missing values at the mean."""
    values, unseen = values.astype(np.float64), unseen.astype(np.float64)
    mean = float(np.nanmean(values)) if not np.isnan(values).all() else 0.0
    centred = np.where(np.isnan(values), 0.0, values - mean)
    spread = float(centred @ centred)
    slope = float(centred @ (known - known.mean(dtype=np.float64))) / spread if spread > 0 else 0.0
    line: np.ndarray = known.mean(dtype=np.float64) + slope * np.where(np.isnan(unseen), 0.0, unseen - mean)
    return line
