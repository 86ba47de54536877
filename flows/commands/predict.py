"""The command that predicts the rows of a file: `nightune predict`."""

from pathlib import Path
from typing import Annotated

import typer

from nightune.flows.commands.options import report_errors
from nightune.flows.runtime.console import say
from nightune.flows.runtime.environment import store_root, tracking_uri
from nightune.flows.runtime.text_streams import show_every_text
from nightune.models.heavy_imports import lasting_imports


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Registered model: the name of its study.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Rows to predict: a file or folder as in [data]; labels are ignored.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Write to this file (.csv, .jsonl, .parquet) instead of standard output."),
    ] = None,
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also write the probability of each class.")
    ] = False,
    version: Annotated[int | None, typer.Option(min=1, help="Number of a version; default: by its alias.")] = None,
    alias: Annotated[str | None, typer.Option(help="Alias of a version; default: champion.")] = None,
) -> None:
    """Predict each row of a file by a registered version, the champion unless another one is named."""
    if version is not None and alias is not None:
        raise typer.BadParameter("--version names the version already; leave out --alias", param_hint="--alias")
    with report_errors(creates_store=False), lasting_imports():
        from nightune.models.data.rows_to_predict import existing_rows  # noqa: PLC0415 - pandas
        from nightune.tasks.predict_rows import predict_rows, refuse_bad_answers, write_answers  # noqa: PLC0415
        from nightune.tasks.tracking.registry.registry import CHAMPION  # noqa: PLC0415
        from nightune.tasks.tracking.store.store import open_existing_store  # noqa: PLC0415 - MLflow takes seconds to import

        rows = existing_rows(file)
        if output is not None:
            refuse_bad_answers(output, rows)
        store = open_existing_store(store_root(), tracking_uri())
        predicted = predict_rows(store, model, rows, version, alias or CHAMPION, probabilities)
        show_every_text()
        write_answers(predicted.answers, output)
    for remark in predicted.remarks:
        say(f"{file}: {remark}")
    answered = predicted.version
    roles = "".join(f" @{name}" for name in answered.aliases)
    where = "" if output is None else f" in {output}"
    say(f"{len(predicted.answers)} rows predicted by {model} version {answered.number}{roles}{where}")
