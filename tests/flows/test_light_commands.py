"""Commands that read a store or check a study do not wait for libraries that they do not need."""

import subprocess
import sys

import pytest

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


@pytest.mark.parametrize("command", NEEDED_BY)
def test_command_imports_no_large_library_before_it_needs_one(command: str) -> None:
    modules = ", ".join(("nightune.flows.commands.main", "nightune.tasks.load_study", *NEEDED_BY[command]))
    code = f"import sys, {modules}; print(*(name for name in {LARGE} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()
