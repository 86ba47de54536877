from nightune.flows.notebooks.child_command import CommandError as CommandError
from nightune.flows.notebooks.tuning import open_sweep as open_sweep
from nightune.flows.notebooks.tuning import tune as tune
from nightune.tasks.sweep_results import SweepResults as SweepResults

__version__: str
