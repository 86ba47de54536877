"""Names under which engines and the training loop report a trial: a contract with every reader of the store."""

from nightune.vocabulary import VALIDATION_PREFIX

# Tags of a trial's run.
ENGINE = "nightune.engine"
JAX = "jax"  # a value of it
BACKEND = "nightune.backend"
DEVICE = "nightune.device"
DATA_PLACE = "nightune.data"  # where the examples lie: in memory, on disk, on the device
TRAINED_ON = "nightune.trained_on"  # the rows of the checkpoint's model, with folds
XLA = "nightune.xla"  # yes, or no with the reason

AS_ASKED = "as asked"  # begins the reason for an engine that a command names

# Curves, one value an epoch; penalty-free metrics on the validation rows are `val_` and the metric's name.
LOSS = "loss"  # running, over the epoch's updates
VALIDATION = VALIDATION_PREFIX
LEARNING_RATE = "learning_rate"  # this and the next three as used in the epoch's last update
WEIGHT_DECAY = "weight_decay"
BATCH_SIZE = "batch_size"
PENALTY = "penalty"
UPDATES = "updates"  # so far
EXAMPLES = "examples"  # so far
SECONDS = "seconds"

# Peak memory of the process so far, in MiB: the host's, and the device's where the backend reports it.
PEAK_MEMORY = "peak_memory_mib"
DEVICE_PEAK_MEMORY = "device_peak_memory_mib"
PEAKS = (PEAK_MEMORY, DEVICE_PEAK_MEMORY)
