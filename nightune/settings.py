"""The settings of Nightune: environment variables with their types, bounds and units. No other module reads them.

Includes variables of other libraries whose values Nightune also interprets.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "NIGHTUNE_"
SUPERVISOR, SERVED_BY = "NIGHTUNE_SUPERVISOR", "NIGHTUNE_SERVED_BY"
WEBHOOK, HOOK = "NIGHTUNE_WEBHOOK", "NIGHTUNE_HOOK"
INTERNAL = (SUPERVISOR, SERVED_BY)  # set by Nightune for its own child processes

# Variables of a hook's command, of prefect.yaml and of `make fuzz`.
NOT_SETTINGS = (
    *(f"{PREFIX}{name}" for name in ("EVENT", "STUDY", "SWEEP", "REASON", "VERSION", "PAGE", "FLOW_RUN_ID")),
    *(f"{PREFIX}{name}" for name in ("FOLDER", "FUZZ_CASES")),
)
OF_OTHERS = {
    "tracking_uri": "MLFLOW_TRACKING_URI",
    "keras_backend": "KERAS_BACKEND",
    "prefect_api_url": "PREFECT_API_URL",
    "prefect_profile": "PREFECT_PROFILE",
}
_OF_RESULTS = (
    "KERAS_BACKEND",
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "TF_ENABLE_ONEDNN_OPTS", "TF_DETERMINISTIC_OPS"),
    *("XLA_FLAGS", "JAX_ENABLE_X64", "JAX_DEFAULT_MATMUL_PRECISION", "NVIDIA_TF32_OVERRIDE", "PYTHONHASHSEED"),
    *("NIGHTUNE_DATA", "NIGHTUNE_SNAPSHOT_SECONDS", "NIGHTUNE_STACK", "NIGHTUNE_STORE_PATIENCE_SECONDS"),
)
KERAS_BACKENDS = ("tensorflow", "jax")
_DATABASE = r"sqlite:///.|(postgresql|mysql|mssql)(\+\w+)?://."  # databases that MLflow supports
_DASK = re.compile(r"(tcp|tls)://[^\s/:@]+:\d{1,5}|(tcp|tls)://\[[0-9a-fA-F:]+\]:\d{1,5}")
MAXIMUM_STACK = 64
SHOWN_CHARACTERS = 80


class SettingsError(ValueError):
    """Invalid environment variables. The message has one line per variable: name, given value, allowed values."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))


def read_settings() -> "Settings":
    """Return the current settings; SettingsError if any value is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = _wrong(error)
    raise SettingsError([_problem(name) for name in wrong])  # not from pydantic's error, which repeats secrets


def usable_settings() -> "Settings":
    """Return the current settings, with defaults for invalid values.

    For code that must not fail: the hooks at the end of a night.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = _wrong(error)
    fields = Settings.model_fields.items()
    return Settings(**{_variable(name): field.default for name, field in fields if _variable(name) in wrong})


def unknown_variables() -> list[str]:
    """Return a line for each NIGHTUNE_* variable that nothing reads, with the nearest spelling."""
    settings = [_variable(name) for name in Settings.model_fields if name not in OF_OTHERS]
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in (*settings, *NOT_SETTINGS))
    public = [name.removeprefix(PREFIX) for name in settings if name not in INTERNAL]
    lines = []
    for name in unknown:
        near = difflib.get_close_matches(name.removeprefix(PREFIX), public, n=1)
        hint = f"did you mean {PREFIX}{near[0]}?" if near else f"known: {', '.join(PREFIX + each for each in public)}"
        lines.append(f"{_shown(name)[1:-1]}: unknown environment variable, ignored; {hint}")
    return lines


def variables_of_results() -> dict[str, str | None]:
    """Return the variables that can change a trial's values or its speed, with None for those that are not set.

    Those of the command hold on all machines: Dask sets the threads of NumPy's library for its workers, for example.
    """
    return {name: os.environ.get(name) for name in _OF_RESULTS}


def host_only(address: str) -> str:
    """Return the scheme and the host of an address: the rest may contain a secret."""
    parts = _split(address)
    return f"{parts[0]}://{parts[1]}/…" if all(parts) else f"a text of {len(address)} characters"


def _variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return OF_OTHERS.get(name, f"{PREFIX}{name.upper()}")


def _wrong(error: ValidationError) -> list[str]:
    """Return the variables with invalid values, without duplicates."""
    return list(dict.fromkeys(str(each["loc"][0]) for each in error.errors()))


def _problem(variable: str) -> str:
    given = os.environ[variable]
    field = next(field for name, field in Settings.model_fields.items() if _variable(name) == variable)
    rule = next(each for each in field.metadata if isinstance(each, _Rule))
    near = difflib.get_close_matches(given, rule.names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near and near[0] != given else ""
    return f"{variable}: {rule.show(given)} is not {rule.allowed}{hint}"


@dataclass(frozen=True, slots=True)
class _Rule:
    """The parts of a variable's error: the allowed values, how to show the given one, and known names to suggest."""

    allowed: str
    show: Callable[[str], str]
    names: tuple[str, ...] = ()


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def _first_word(value: str) -> str:
    """Return the start of a command: its arguments may contain secrets."""
    first, *rest = re.split(r"[\s,:=]", value, maxsplit=1)
    return _shown(f"{first} …" if rest else first)


def _length(value: str) -> str:
    return f"a text of {len(value)} characters"


def _without_password(address: str) -> str:
    scheme, mark, rest = address.partition("://") if "://" in address else ("", "", address)
    _, at, place = rest.rpartition("@")
    return _shown(f"{scheme}{mark}{'***@' if at else ''}{place.partition('?')[0]}")


def _split(address: str) -> tuple[str, str]:
    """Return the scheme and the host of an address; empty texts if it has none."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # ValueError if it is not a number
    except ValueError:
        return "", ""
    return parts.scheme, parts.hostname or ""


def _folder(path: Path) -> Path:
    if "?" in str(path):  # MLflow's address of the database would end at it
        raise ValueError("a question mark")
    if path.exists() and not path.is_dir():
        raise ValueError("a file")
    return path


def _http_address(address: str | None) -> str | None:
    scheme, host = _split(address or "http://default")
    if scheme not in ("http", "https") or not host:
        raise ValueError("no http(s) address")
    return address


def _tracking_address(address: str | None) -> str | None:
    if address is None or re.match(_DATABASE, address):
        return address
    return _http_address(address)


def _dask_address(address: str | None) -> str | None:
    if address is not None and not _DASK.fullmatch(address):
        raise ValueError("no address of a scheduler")
    return address


def _json(value: object) -> object:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if words and not words[0]:
        raise ValueError("no command")
    return words


def _installed(name: str) -> str:
    if name not in KERAS_BACKENDS or find_spec(name) is None:
        raise ValueError("no backend")
    return name


_Seconds = Annotated[
    float, Field(ge=0, le=1e9, allow_inf_nan=False), _Rule("a number of seconds from 0 to 1e9", _shown)
]
_Process = Annotated[
    int | None, Field(ge=1), _Rule("the number of a process (Nightune sets it for its children: unset it)", _shown)
]
_HttpAddress = Annotated[str | None, AfterValidator(_http_address)]
_PLACES = ("auto", "memory", "disk")


class Settings(BaseSettings):
    """All settings. Empty variables are treated as unset."""

    model_config = SettingsConfigDict(
        alias_generator=_variable,
        case_sensitive=True,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=False,
    )

    store: Annotated[
        Path, AfterValidator(_folder), _Rule("a folder (or the name of a new one), without '?' in its name", _shown)
    ] = Field(default=Path("mlruns"), description="The folder of all state.")
    store_patience_seconds: _Seconds = Field(
        default=300.0, description="How long to wait for a store that does not answer."
    )
    snapshot_seconds: _Seconds = Field(
        default=60.0, description="Training time between two snapshots of a trial; 0 keeps each epoch."
    )
    data: Annotated[Literal["auto", "memory", "disk"], _Rule(f"one of {', '.join(_PLACES)}", _shown, names=_PLACES)] = (
        Field(default="auto", description="Where prepared data lies while models train; auto decides by free memory.")
    )
    stack: Annotated[
        int | None, Field(ge=1, le=MAXIMUM_STACK), _Rule(f"a whole number from 1 to {MAXIMUM_STACK}", _shown)
    ] = Field(default=None, description="Trials that JAX trains at once; by default 1 on CPUs, else as many as fit.")
    dask: Annotated[
        str | None,
        AfterValidator(_dask_address),
        _Rule("the address of a Dask scheduler, such as tcp://HOST:8786 or tls://HOST:8786", _without_password),
    ] = Field(default=None, description="A Dask cluster whose workers train the trials of `tune`.")
    webhook: Annotated[_HttpAddress, _Rule("an http:// or https:// address", host_only)] = Field(
        default=None, description="An address to notify of each night by POST.", repr=False
    )
    hook: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_json),
        AfterValidator(_command),
        _Rule('a JSON list of a command\'s words, such as ["notify", "--loud"]', _first_word),
    ] = Field(default=(), description="A command to run after each night.", repr=False)
    ui_password: Annotated[str | None, Field(min_length=12), _Rule("a password of 12 characters or more", _length)] = (
        Field(default=None, description="The password of pages that are open to the network.", repr=False)
    )
    supervisor: _Process = Field(default=None, description="The process that restarts this one after a crash.")
    served_by: _Process = Field(default=None, description="The process that serves nights.")

    tracking_uri: Annotated[
        str | None,
        AfterValidator(_tracking_address),
        _Rule(
            "an address of an MLflow store (http://, https://, sqlite:///, postgresql://, mysql://, mssql://)",
            _without_password,
        ),
    ] = Field(default=None, description="Another MLflow store than the folder's.", repr=False)
    keras_backend: Annotated[
        str,
        AfterValidator(_installed),
        _Rule(f"an installed backend (allowed: {', '.join(KERAS_BACKENDS)})", _shown, names=KERAS_BACKENDS),
    ] = Field(default=KERAS_BACKENDS[0], description="What Keras computes with.")
    prefect_api_url: Annotated[
        _HttpAddress, _Rule("the http:// or https:// address of a Prefect server", _without_password)
    ] = Field(default=None, description="Another Prefect server than our own.", repr=False)
    prefect_profile: str | None = Field(default=None, description="A profile of Prefect's that names a server.")
