"""Count on a sweep's run what its processes compiled."""

from nightune.models.training.engine import Compilation
from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.commits import without_waiting
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.records import number_of_tag
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep


def add_compilation(store: Store, sweep: Sweep, added: Compilation) -> None:
    """Add compiled functions, and the seconds of compiling them, to those of the sweep's run; nothing for none."""
    if added.functions == 0:
        return
    tags = client(store).get_run(sweep.run_id).data.tags
    functions = int(number_of_tag(tags.get(names.COMPILED_FUNCTIONS, "0"))) + added.functions
    seconds = number_of_tag(tags.get(names.COMPILE_SECONDS, "0")) + added.seconds
    tags = {names.COMPILED_FUNCTIONS: str(functions), names.COMPILE_SECONDS: f"{seconds:.1f}"}
    with without_waiting():  # after each cohort that compiles, and nothing else of it is lost
        client(store).log_batch(sweep.run_id, tags=run_tags(tags))
