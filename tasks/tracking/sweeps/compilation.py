"""Count on a sweep's run what its processes compiled."""

import math

from nightune.models.training.engine import Compilation
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep


def add_compilation(store: Store, sweep: Sweep, added: Compilation) -> None:
    """Add compiled functions, and the seconds of compiling them, to those of the sweep's run; nothing for none."""
    if added.functions == 0:
        return
    tags = client(store).get_run(sweep.run_id).data.tags
    functions = int(_number(tags.get(names.COMPILED_FUNCTIONS, "0"))) + added.functions
    seconds = _number(tags.get(names.COMPILE_SECONDS, "0")) + added.seconds
    client(store).set_tag(sweep.run_id, names.COMPILED_FUNCTIONS, str(functions))
    client(store).set_tag(sweep.run_id, names.COMPILE_SECONDS, f"{seconds:.1f}")


def _number(text: str) -> float:
    """Return the number of a tag; 0 for one that was changed by hand: it is for reading only."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
