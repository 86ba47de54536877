"""Commands that read a store or check a study do not wait for libraries that they do not need."""

import subprocess
import sys

NEEDED_BY = {
    "show": (
        "nightune.tasks.reporting.read_report",
        "nightune.flows.commands.leaderboard_table",
        "nightune.flows.commands.next_steps",
    ),
    "report": ("nightune.tasks.draw_report", "nightune.flows.commands.report"),
    "list": ("nightune.tasks.tracking.trials.results", "nightune.flows.commands.listing"),
    "compare": ("nightune.tasks.compare_sweeps", "nightune.flows.commands.tables"),
    "simulate": ("nightune.tasks.simulate_search", "nightune.flows.commands.simulate"),
    "models": ("nightune.tasks.tracking.registry.registry", "nightune.flows.commands.tables"),
    "check": ("nightune.tasks.check_study", "nightune.flows.commands.check_tables"),
}
LARGE = ("prefect", "keras", "tensorflow", "jax", "scipy", "sklearn", "pandas", "mlflow")


def test_commands_import_no_large_library_before_they_need_one() -> None:
    """All in one process: a library that a command imports is one for the commands after it, too."""
    lines = ["import sys"]
    for command, needed in NEEDED_BY.items():
        modules = ", ".join(("nightune.flows.commands.main", "nightune.tasks.load_study", *needed))
        lines += [f"import {modules}", f"print({command!r}, *(name for name in {LARGE} if name in sys.modules))"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(NEEDED_BY)
