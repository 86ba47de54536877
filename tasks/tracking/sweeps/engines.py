"""Record on a sweep's run which engine trains it, and how that lays out batches."""

from dataclasses import replace

from nightune.tasks.tracking.store import names
from nightune.tasks.tracking.store.entities import run_tags
from nightune.tasks.tracking.store.store import Store, client
from nightune.tasks.tracking.sweeps.sweeps import BLOCKS, BUCKETS, Sweep


def record_engine(store: Store, sweep: Sweep, engine: str, reason: str, accumulates_blocks: bool = False) -> Sweep:
    """Write the sweep's engine, how it lays out batches and the reason for it to its run, in one transaction.

    A sweep with an engine and without a layout was begun by an earlier version, and keeps buckets.
    """
    layout = {names.BATCH_LAYOUT: BLOCKS if accumulates_blocks else BUCKETS} if engine == names.JAX else {}
    tags = {**layout, names.ENGINE: engine, names.ENGINE_REASON: reason}
    client(store).log_batch(sweep.run_id, tags=run_tags(tags))
    return replace(sweep, engine=engine, accumulates_blocks=accumulates_blocks)


def forget_engine(store: Store, sweep: Sweep) -> Sweep:
    """Delete the sweep's engine from its run: the next start chooses one."""
    tags = client(store).get_run(sweep.run_id).data.tags
    for name in (names.ENGINE, names.ENGINE_REASON, names.BATCH_LAYOUT):
        if name in tags:
            client(store).delete_tag(sweep.run_id, name)
    return replace(sweep, engine="", accumulates_blocks=False)
