"""Store what a model's search believes when it ends on the sweep's run, as a file to read back."""

from pydantic import TypeAdapter

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.records import optional_file
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import Sweep
from nightune.tuning.analysis.beliefs import Beliefs


def write_beliefs(store: Store, sweep: Sweep, held: Beliefs) -> None:
    """Write the beliefs to the sweep's run; the tag, the number of trials compared, is set last."""
    content = TypeAdapter(Beliefs).dump_json(held).decode()
    client(store).log_text(sweep.run_id, content, names.BELIEFS_FILE)
    client(store).set_tag(sweep.run_id, names.PREDICTED, str(len(held.compared)))


def read_beliefs(store: Store, sweep: Sweep) -> Beliefs | None:
    """Return the beliefs; None if no model proposed trials, before the search ended, or if the file is damaged."""
    if names.PREDICTED not in client(store).get_run(sweep.run_id).data.tags:
        return None
    return optional_file(store, sweep.run_id, names.BELIEFS_FILE, parse_beliefs)


def parse_beliefs(text: str) -> Beliefs:
    """Read beliefs from the text of their file; ValueError if it is damaged."""
    return TypeAdapter(Beliefs).validate_json(text)
