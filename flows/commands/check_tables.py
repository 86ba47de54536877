"""Print what `nightune check` finds: the parameters, the budget, the columns of a table and the class shares."""

from collections.abc import Mapping, Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nightune.flows.runtime.console import print_table
from nightune.tasks.check_study import StudyCheck
from nightune.vocabulary import counted

SHOWN_COLUMNS = 100
SHOWN_CLASSES = 20


def print_check(console: Console, check: StudyCheck) -> None:
    """Print what a sweep of the study would do."""
    console.print(Text(f"{check.study}: {check.question}", style="bold"))
    table = Table(header_style="bold")
    for name in ("parameter", "values", "active when"):
        table.add_column(name, overflow="fold")
    for dimension in check.dimensions:
        table.add_row(*(Text(dimension[name]) for name in ("name", "values", "when")))
    print_table(console, table)
    facts: Sequence[tuple[str, object]] = [
        ("data", _data_line(check.data)),
        *([] if check.classes is None else [_class_line(check.classes, check.data)]),
        *([("weights", _weight_line(check.data["weights"]))] if "weights" in check.data else []),
        *[("class weight", f"{name} · {_weights(weights)}") for name, weights in check.class_weights.items()],
        *_objective_lines(check),
        ("trials", _trials(check)),
        *([("models built", str(check.models_built))] if check.models_built else []),
        *[("model", f"{architecture} · {size}") for architecture, size in check.sizes.items()],
        *[("head", f"{architecture} · {said}") for architecture, said in check.heads.items()],
        *([("engine", check.engine)] if check.engine else []),
        ("graph keys", f"{len(check.graph_keys)} · {_programs(*check.programs)}"),
        *_start_lines(check),
        *_round_lines(check),
        *_bracket_lines(check),
        *_population_lines(check),
        *_adapted_lines(check),
        *_fold_lines(check),
        _confirmation_line(check),
        ("largest cost", counted(check.largest_cost_epochs, "epoch")),
    ]
    for name, value in facts:
        console.print(f"{name:<13} {value}", highlight=False, soft_wrap=True)
    _print_columns(console, check)
    for finding in check.findings:
        console.print(Text(f"data: {finding}", style="yellow"), soft_wrap=True)
    for finding in (*check.search_findings, *check.model_findings):
        console.print(Text(finding, style="yellow"), soft_wrap=True)
    for note, count in check.notes.items():
        console.print(Text(f"{counted(count, 'trial')}: {note}", style="yellow"), soft_wrap=True)
    for reason, count in check.refused.items():
        console.print(Text(f"{counted(count, 'trial')} refused: {reason}", style="yellow"), soft_wrap=True)


def _print_columns(console: Console, check: StudyCheck) -> None:
    """Print one line for each column of a table, as its training rows hold it."""
    if not check.columns:
        return
    table = Table(title="columns · training rows", title_justify="left", header_style="bold")
    for name in ("column", "read as", "distinct", "missing", "example", "what is done"):
        table.add_column(name, justify="right" if name in ("distinct", "missing") else "left", overflow="fold")
    for line in check.columns[:SHOWN_COLUMNS]:
        table.add_row(*(Text("" if value is None else str(value)) for value in line.values()))
    print_table(console, table)
    if len(check.columns) > SHOWN_COLUMNS:
        console.print(f"… and {len(check.columns) - SHOWN_COLUMNS} more columns (all of them: --json)")


def _trials(check: StudyCheck) -> str:
    most = "at most " if check.ends else ""
    method = f"{check.method}, the default" if check.is_default_method else check.method
    return " · ".join((f"{most}{check.trials} ({method})", *check.ends))


def _programs(least: int, most: int) -> str:
    """Say how many programs a compiled engine makes; which floats of a user's function are rates is not known."""
    if least == most:
        return counted(least, "program")
    return f"{least} to {most} programs (models that differ in dropout rates alone share one)"


def _class_line(counts: Mapping[str, int], data: Mapping[str, object]) -> tuple[str, str]:
    """The share of each class or label in the training rows, largest first."""
    sizes = data["sizes"]
    assert isinstance(sizes, Mapping)
    rows = sizes["train"]
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    shares = ", ".join(f"{label} {count / rows:.1%}" for label, count in ordered[:SHOWN_CLASSES])
    more = f", and {len(counts) - SHOWN_CLASSES} more" if len(counts) > SHOWN_CLASSES else ""
    return "labels" if data["task"] == "multilabel" else "classes", f"{shares}{more} (of {rows} training rows)"


def _weight_line(described: object) -> str:
    """The range of the training rows' weights, and whether metrics use them."""
    assert isinstance(described, Mapping)
    source = f"column {described['column']!r} · " if described["column"] else ""
    zeros = f", {described['zeros']} rows weigh 0" if described["zeros"] else ""
    spread = f"{described['minimum']:g} to {described['maximum']:g} (mean {described['mean']:g}{zeros})"
    metrics = "by weight, too" if described["metrics"] == "weights" else "all rows alike"
    return f"{source}{spread} in the training rows · validation and test metrics: {metrics}"


def _weights(weights: Mapping[str, float]) -> str:
    """The weight of each class in the training loss, largest first."""
    ordered = sorted(weights.items(), key=lambda each: -each[1])
    more = f", and {len(weights) - SHOWN_CLASSES} more" if len(weights) > SHOWN_CLASSES else ""
    return ", ".join(f"{label} {weight:.4g}" for label, weight in ordered[:SHOWN_CLASSES]) + more


def _bracket_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line with the rungs of each bracket, if any bracket has more than one rung."""
    if max(map(len, check.brackets)) == 1:
        return []
    lines = [" → ".join(f"{rung['trials']} × {rung['epochs']}" for rung in rungs) for rungs in check.brackets]
    found, place = [], 1
    for line, alike in groupby(lines):
        count = len(list(alike))
        name = f"bracket {place}" if count == 1 else f"brackets {place}-{place + count - 1}"
        found.append((name, f"{line} epochs"))
        place += count
    return found


_CHANGES = {"fixed": "set by the study", "nearest": "nearest number in the space", "drawn": "drawn"}


def _start_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line on the configurations that begin the sweep, and one on what the space changes in them."""
    start = check.start
    if start is None:
        return []
    alone = _texts(start["without_family"])
    if not start["configurations"]:
        return [("start", f"drawn: the portfolio has no family of {' or '.join(alone)}")]
    text = f"{start['points']} of {start['configurations']} configurations of the portfolio begin the sweep"
    lines = [("start", f"{text} · {start['as_they_are']} as they are")]
    for how, words in _CHANGES.items():
        counts = start[how]
        assert isinstance(counts, Mapping)
        named = ", ".join(f"{name} (in {count})" for name, count in sorted(counts.items()))
        lines += [("", f"{words}: {named}")] if counts else []
    if start["expected_from"]:
        lines.append(("", f"the model begins from the scores of {start['expected_from']} recorded configurations"))
    left_out = start["left_out"]
    assert isinstance(left_out, Mapping)
    lines += [("", f"left out: {message} (in {count})") for message, count in left_out.items()]
    lines += [
        ("", f"{name}: no family of the portfolio; takes optimizer, rates, decay and batches only") for name in alone
    ]
    return lines


def _texts(names: object) -> list[str]:
    assert isinstance(names, list)
    return list(map(str, names))


def _round_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line that says which trials are known before the search, if a model proposes the others."""
    if not check.is_proposing:
        return []
    first, begun = check.brackets[0][0]["trials"], 0 if check.start is None else int(str(check.start["points"]))
    few = f"trial {begun} is" if first - begun == 1 else f"trials {begun} to {first - 1} are"
    drawn = f"{few} drawn at random, the others" if begun < first else "the others are"
    text = f"{drawn} proposed in {counted(len(check.brackets) - 1, 'round')}"
    return [("rounds", f"{text} from the results before (random points stand in for them in counts of trials here)")]


def _population_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return lines that say what a population replaces, after which epochs, and what it changes."""
    if check.population is None:
        return []
    held = check.population
    after, changes = _texts(held["exploits_after"]), _texts(held["perturbed"])
    many = f"{', '.join(after[:4])}{', …' if len(after) > 4 else ''}"
    count = int(str(held["replaced"]))
    few, best = ("is", "the best one") if count == 1 else ("are", f"the best {count}")
    replaced = f"{count} of {held['members']} members {few} replaced after epoch {many}"
    low, high = _texts(held["factors"])
    options = _texts(held["perturbed_options"])
    ways = [f"times {low} or {high}"] if len(options) < len(changes) else []
    of_some = f" of {', '.join(options)}" if ways else ""
    ways += [f"the next larger or smaller option{of_some}"] if options else []
    how = f"{', '.join(ways)}, or drawn anew (probability {held['resample_probability']})"
    return [
        ("population", f"{replaced}, by continuations of {best}"),
        ("", f"these have other values: {', '.join(changes)}, {how}"),
        ("", "no stopping rule: the worst members are replaced instead (random points stand in for new members here)"),
    ]


def _objective_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line with the objectives, if there are several."""
    said = [f"{name} ({direction})" for name, direction in check.objectives]
    return [("objectives", f"{said[0]} ranks · beside it {', '.join(said[1:])}")] if len(said) > 1 else []


def _confirmation_line(check: StudyCheck) -> tuple[str, str]:
    """Return a line with the finalists and seeds, and by which command they are trained."""
    if not check.confirmation[0]["finalists"]:
        return "confirmation", "none"
    said = [
        f"{counted(row['finalists'], 'finalist')} × {counted(row['replicates'], 'seed')}, up to {row['epochs']} epochs"
        for row in check.confirmation
    ]
    if len(said) > 1:
        said[1] += f", from {check.confirmation[1]['from_trials']} trials on"
    return "confirmation", " · ".join(said if check.is_confirming else [*said, "by nightune promote"])


def _adapted_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line on the rungs of later rounds, if these depend on results, or on why there are none."""
    if check.why_in_full:
        return [("rungs", f"none, all trials are trained in full: {check.why_in_full}")]
    if not check.adapts_rungs:
        return []
    text = "later rounds leave out first rungs whose ranks disagree with later ones, up to full trainings"
    return [("rungs", f"{text} (the largest cost is that of full trainings)")]


def _fold_lines(check: StudyCheck) -> list[tuple[str, str]]:
    """Return a line with the trainings of a trial and of a replicate, if the study has folds."""
    if not check.folds:
        return []
    count, least, most = len(check.folds), min(check.folds), max(check.folds)
    rows = f"{least} rows" if least == most else f"{least} to {most} rows"
    return [("folds", f"{count} trainings a trial, on {rows}; {count + 1} a replicate, the last on all rows of train")]


def _data_line(data: Mapping[str, object]) -> str:
    sizes, shapes = data["sizes"], data["input_shape"]
    assert isinstance(sizes, Mapping)
    rows = ", ".join(f"{count} {split}" for split, count in sizes.items())
    heads = data.get("heads", ())
    assert isinstance(heads, list | tuple)
    task = ", ".join(f"{each['name']} {each['task']}" for each in heads) or data["task"]
    return f"{data['source']} · {task} · inputs {shapes} · {rows} · version {data['version']}"
