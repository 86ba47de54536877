"""Names of everything written to MLflow and to Prefect's tags: a contract, since dashboards and scripts read them.

Params have the dotted names of the study file. Engines report under names of their own (`reported_names`).
"""

from nightune.models.serving.rebuilt_model import ARCHIVE
from nightune.models.training import reported_names

PREFIX = "nightune."  # of all our tags
TAG_LENGTH = 5000  # characters, within MLflow's limit of 8000; longer texts are cut

# Tags of runs of several kinds.
KIND = "nightune.kind"  # sweep, trial, replicate, audit, probe; retried: a failed trial that has another run by now
SWEEP = "nightune.sweep"  # the sweep's id; on versions and logged models, too
STATUS = "nightune.status"
SEED = "nightune.seed"
STUDY_DIGEST = "nightune.study_digest"
OWN_ROUNDS = "+rounds"  # ends the digest of a sweep whose rounds earlier versions would plan, and train, otherwise
DATA_VERSION = "nightune.data_version"
ENGINE = reported_names.ENGINE
JAX = reported_names.JAX
DEVICE = reported_names.DEVICE
GIT_CHANGED = "nightune.git_changed"  # whether files differed from the commit
REQUEST = "nightune.request"  # marks the call that creates a run, so that a retry finds the run

# Tags of sweeps.
SWEEP_NUMBER = "nightune.sweep_number"
LAST_SWEEP_NUMBER = "nightune.last_sweep_number"  # of the experiment
METRIC = "nightune.metric"
METRIC_CODE = "nightune.metric_code"  # of a metric of the user: identifies its file and those that it imports
DIRECTION = "nightune.direction"
OBJECTIVES = "nightune.objectives"  # of a study of several: their names and directions, as JSON
CODE = "nightune.code"  # of the user: identifies the files of architectures, losses, rules and the metric
PLANNED_TRIALS = "nightune.planned_trials"
ASKED_TRIALS = "nightune.asked_trials"  # where these are not the planned ones: a space of few points
EARLIER_LENGTHS = "nightune.earlier_lengths"  # of an extended sweep: the numbers of trials that it was asked for before
ENDED_BY = "nightune.ended_by"  # what ended the search before its last trial, as in the study: hours = 8
DEADLINE = "nightune.deadline"  # of a search with a time of day, by ISO 8601
SEARCH_SECONDS = "nightune.search_seconds"  # of a search with an end: of all its processes
POINTS = "nightune.points"  # of a space without continuous ranges, which is drawn without repeats
FOLDS = "nightune.folds"  # how many, if the study has some
ENGINE_REASON = "nightune.engine_reason"
BATCH_LAYOUT = "nightune.batch_layout"  # on JAX: batches are added up from blocks, or whole in buckets (also: no tag)
COMPILED_FUNCTIONS = "nightune.compiled_functions"  # by all processes of the sweep; 0: no tag
COMPILE_SECONDS = "nightune.compile_seconds"  # of tracing and compiling them
FINDINGS = "nightune.findings"  # about the data, one a line; all of them are in FINDINGS_FILE
DRIFT = "nightune.drift"  # against the sweep before, a column a line; "none", or "no sweep before"
BEST_TRIAL = "nightune.best_trial"  # of the search: its number; while it runs, of the trials so far
BEST_RUN = "nightune.best_run"  # the id of that trial's run
PROPOSED = "nightune.proposed"  # how many points a model proposed so far; they are in PROPOSALS_FILE
FIRST_ROUND = "nightune.first_round"  # trials, where the first round has a size of its own (no tag: 16)
FIRST_RUNGS = "nightune.first_rungs"  # epochs of the first rung by the first trial of a round, where these adapt
OF_PORTFOLIO = "nightune.of_portfolio"  # how many of the points that the sweep begins with, the last of them
PREDICTED = "nightune.predicted"  # of how many trials what a model expected is compared with what they reached
BEGAN_FROM = "nightune.began_from"  # the earlier sweep whose best points are its first trials
CONFIRMING = "nightune.confirming"  # finalists and seeds for each, where the study leaves them to the search, as JSON
CONFIRMED_TRIAL = "nightune.confirmed_trial"
MATTERED_MOST = "nightune.mattered_most"
TEST_READS = "nightune.test_reads"
FAILURES = "nightune.failures"  # why trials failed, a line for all alike
VERDICT_QUESTION = "nightune.verdict_question"

# Tags of trials.
TRIAL_KEY = "nightune.trial_key"  # on versions, too
TRIAL_NUMBER = "nightune.trial_number"
PARAMS = "nightune.params"  # all params as JSON
HOST = "nightune.host"
PROCESS = "nightune.process"
ATTEMPT = "nightune.attempt"
ATTEMPT_TOKEN = "nightune.attempt_token"  # of the attempt that writes the run: an older one abandons it
DEATHS = "nightune.deaths"  # of workers of a cluster while they trained this trial, as JSON: count, reason, is_final
MESSAGE = "nightune.message"
PACKAGES = "nightune.packages"  # of a failed trial: identifies the packages that were installed
# grid, random, gp, tpe, auto, pbt, portfolio, or history: a best point of an earlier sweep
PROPOSED_BY = "nightune.proposed_by"
# The trial that this one continues, the last epoch of that, and what it replaced, with both objectives, as JSON.
CONTINUES = "nightune.continues"
EXPECTED = "nightune.expected"  # what the model that proposed it expected: value, deviation and epochs, as JSON
PROMOTED_TO = "nightune.promoted_to"  # the epochs of the highest rung that a trial was promoted to
RETRIED_BECAUSE = "nightune.retried_because"
AUDIT = "audit"  # the kind of a run that trains a stopped trial to the end
RETRIED = "retried"  # the kind of a run whose trial is trained again
RUNG = "nightune.rung"  # the epoch until which a halted trial is completely logged
SNAPSHOT = "nightune.snapshot"  # the epoch of the newest snapshot
RESUMED_AT = "nightune.resumed_at"  # the epoch of the snapshot that the training resumed from
TRAINED_ON = reported_names.TRAINED_ON  # whose model is kept, with folds
REUSED_FROM = "nightune.reused_from"
PRUNED = "nightune.pruned"  # the checkpoint was deleted
LOGGED_MODEL = "nightune.logged_model"

# Tags of replicates, beside those of trials.
REPLICATE = "nightune.replicate"

# Tags of the trainings of an ablation, beside those of replicates.
ABLATION = "ablation"  # their kind: no leaderboard counts them
ABLATION_STEP = "nightune.ablation_step"

# Tags of sweeps and versions for readers: written first, since MLflow lists tags in this order.
ANSWER = "answer"
NEXT_STEP = "next_step"
FOR_READERS = (ANSWER, NEXT_STEP)
NOT_KNOWN = "not known before the end of the sweep"

# Tags of studies: of the experiment, and of the registered model.
LEASE = "nightune.lease"
STUDY = "nightune.study"

# Tags of versions.
TRIAL = "nightune.trial"
SIBLINGS = "nightune.siblings"
SEARCH_SCORE = "nightune.search_score"
CONFIRMED_SCORE = "nightune.confirmed_score"
COMPARED_WITH = "nightune.compared_with"
PREVIOUS_CHAMPION = "nightune.previous_champion"
ROLLED_BACK_BECAUSE = "nightune.rolled_back_because"
HISTORY = "nightune.history"

# Tags of verdicts, on the sweep's run and on the version.
VERDICT = "nightune.verdict"
REASON = "nightune.reason"
BECAUSE = "nightune.because"
MEASURE = "nightune.measure"
MINIMUM_GAIN = "nightune.minimum_gain"
TEST_READS_SO_FAR = "nightune.test_reads_so_far"
GUARDS = "nightune.guards"
GAIN = "nightune.gain"  # with the endings _low, _high, _rows and _losses, too
BASELINE_GAIN = "nightune.baseline_gain"  # the same endings
THRESHOLD = "nightune.threshold"  # of the study, as JSON, where it is not one half
METRIC_VALUES = "nightune.metric_values"  # of challenger, champion and baseline on the test split, as JSON
TEST_METRIC = "nightune.test_"  # and the metric's name

# Tags of Prefect's flow runs: this, and the process that owns the run.
FLOW_RUN_OWNER = f"{PROCESS}:"

# MLflow's own tags.
MLFLOW_PARENT = "mlflow.parentRunId"
MLFLOW_NOTE = "mlflow.note.content"
MLFLOW_COMMIT = "mlflow.source.git.commit"
MLFLOW_TABLES = "mlflow.loggedArtifacts"
MLFLOW_DATA_CONTEXT = "mlflow.data.context"

# Metrics that are logged when a trial ends, or halts at a rung; the other metrics are curves.
OBJECTIVE = "objective"
BEST_EPOCH = "best_epoch"
EPOCHS = "epochs"
SECONDS = reported_names.SECONDS
ONCE = (OBJECTIVE, BEST_EPOCH, EPOCHS, SECONDS)
PEAKS = reported_names.PEAKS
MODEL_COSTS = ("parameters", "size_mb", "latency_ms")  # where [limits] names one of them
FURTHER = "objective."  # before the name of an objective after the first
OBJECTIVE_ERROR = "objective_standard_error"  # of the mean over folds
ROW_ERROR = "objective_standard_error_over_rows"  # of the best trial of a sweep, where the objective is val_loss

# Curves that tasks read.
LOSS = reported_names.LOSS
UPDATES = reported_names.UPDATES
EXAMPLES = reported_names.EXAMPLES

# Metrics of sweeps, beside the peaks.
TRIALS_PER_HOUR = "trials_per_hour"
FINISHED_TRIALS = "finished_trials"
BEST_OBJECTIVE = "best_objective"  # of the search
HYPERVOLUME = "hypervolume"  # of several objectives: the share of their range that the front covers
FRONT_TRIALS = "front_trials"
CONFIRMED_OBJECTIVE = "confirmed_objective"  # of the winner, over fresh seeds
AUDITED_TRIALS = "audited_trials"  # stopped trials that were trained to the end
STOPPING_REGRET = "stopping_regret"  # what these missed on average, in the unit of the objective
HOURS = "hours"  # of all commands that worked on the sweep
DEVICE_SECONDS = "device_seconds"  # in which a device compiled, trained or validated
ENERGY = "energy_kwh"  # where the machine has a counter
COST = "cost"  # of the hours, at the study's price

# Artifacts of trials and replicates.
CHECKPOINT_FOLDER = "checkpoint"
CHECKPOINT = f"{CHECKPOINT_FOLDER}/model.keras"  # the weights of the best epoch
CHECKPOINTS = (CHECKPOINT, f"{CHECKPOINT_FOLDER}/{ARCHIVE}")  # of a model with code of its author: an archive
SNAPSHOT_FOLDER = "resume"
ERROR = "error.txt"  # the traceback of a failed trial
PREPROCESSING_FOLDER = "preprocessing"
HELD_OUT_FOLDER = "held_out"  # of finalists
HELD_OUT = f"{HELD_OUT_FOLDER}/answers.json"

# Artifacts of sweeps.
STUDY_FOLDER = "study"
STUDY_CONTENT = f"{STUDY_FOLDER}/content.json"
ENVIRONMENT = "environment.json"
FINDINGS_FILE = "findings.json"
PROPOSALS_FILE = "proposals.json"
MEMBERS_FILE = "members.json"  # the new members of each generation of a population
EXPECTATIONS_FILE = "expectations.json"  # of the proposals, in their order
BELIEFS_FILE = "beliefs.json"
LEADERBOARD_CSV = "leaderboard.csv"
LEADERBOARD_TABLE = "leaderboard.json"
FAILURES_JSON = "failures.json"
LOG_FOLDER = "log"
CONFIRMATION = "confirmation/confirmation.json"
CONFIRMATION_TABLE = "confirmation/finalists.json"
IMPORTANCE = "importance/importance.json"
IMPORTANCE_TABLE = "importance/dimensions.json"
VERDICT_JSON = "promotion/verdict.json"
VERDICT_PAGE = "promotion/verdict.md"
REPORT_FOLDER = "report"
REPORT_PAGE = f"{REPORT_FOLDER}/index.html"
DATA_PROFILE = "data/profile.json"  # how columns were read and are distributed, outside the test split
LEDGER = "ledger.json"  # the time of each command, phase and training

# Artifacts of probes.
PROBE_CHART = "probe.svg"
PROBE_NUMBERS = "probe.json"
PROBE_SUGGESTION = "suggestion.toml"


def tag_equals(tag: str, value: str) -> str:
    """A condition of MLflow's search: runs whose tag has this value."""
    return f"tags.`{tag}` = '{value}'"


def tag_differs(tag: str, value: str) -> str:
    """A condition of MLflow's search: runs that have the tag with another value."""
    return f"tags.`{tag}` != '{value}'"
