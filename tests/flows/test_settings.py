"""Environment variables: a wrong value ends every command at its start with one line that names the allowed values."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nightune import settings
from nightune.flows.commands.main import app
from nightune.flows.runtime.environment import hooks
from nightune.settings import NOT_SETTINGS, OF_OTHERS, Settings, SettingsError, host_only, read_settings
from nightune.tasks.reporting.notify import Event, Hooks, notify
from tests.flows.conftest import Command, command_line

SECRET = "hunter2-tr0ub4dor"
WRONG = {
    "NIGHTUNE_STORE": ("/dev/null", "folder"),
    "NIGHTUNE_STORE_PATIENCE_SECONDS": ("5m", "seconds from 0"),
    "NIGHTUNE_SNAPSHOT_SECONDS": ("soon", "seconds from 0"),
    "NIGHTUNE_DATA": ("disc", "did you mean 'disk'"),
    "NIGHTUNE_STACK": ("65", "1 to 64"),
    "NIGHTUNE_DASK": ("scheduler:8786", "tls://HOST:8786"),
    "NIGHTUNE_WEBHOOK": ("hooks.example.com", "https://"),
    "NIGHTUNE_HOOK": ("notify", "JSON list"),
    "NIGHTUNE_UI_PASSWORD": ("short", "12 characters"),
    "NIGHTUNE_SUPERVISOR": ("me", "number of a process"),
    "NIGHTUNE_SERVED_BY": ("0", "number of a process"),
    "MLFLOW_TRACKING_URI": ("mlruns", "sqlite:///"),
    "KERAS_BACKEND": ("torch", "allowed: tensorflow, jax"),
    "PREFECT_API_URL": ("localhost:4200", "https://"),
}
WITHHELD = ("NIGHTUNE_WEBHOOK", "NIGHTUNE_UI_PASSWORD")  # the given value may be a secret
MORE_WRONG = [
    ("NIGHTUNE_STORE", "what?"),
    ("NIGHTUNE_STORE_PATIENCE_SECONDS", "-1"),
    ("NIGHTUNE_STORE_PATIENCE_SECONDS", "inf"),
    ("NIGHTUNE_SNAPSHOT_SECONDS", "nan"),
    ("NIGHTUNE_STACK", "0"),
    ("NIGHTUNE_STACK", "2.5"),
    ("NIGHTUNE_DASK", "http://scheduler:8786"),
    ("NIGHTUNE_DASK", "tcp://scheduler"),
    ("NIGHTUNE_WEBHOOK", "ftp://hooks.example.com"),
    ("NIGHTUNE_WEBHOOK", "https://"),
    ("NIGHTUNE_HOOK", '{"notify": 1}'),
    ("NIGHTUNE_HOOK", '["notify", 1]'),
    ("NIGHTUNE_HOOK", '[""]'),
    ("NIGHTUNE_HOOK", "null"),
    ("NIGHTUNE_HOOK", "[" * 100_000),
    ("MLFLOW_TRACKING_URI", "http://"),
    ("MLFLOW_TRACKING_URI", "http://mlflow:port"),
    ("MLFLOW_TRACKING_URI", "file:///mlruns"),
    ("KERAS_BACKEND", "JAX"),
]
COMMANDS = [
    *(["tune", "STUDY"], ["check", "STUDY"], ["probe", "STUDY"], ["show", "STUDY"], ["report", "STUDY"], ["ui"]),
    *(["promote", "STUDY"], ["rollback", "flowers", "--because", "wrong"], ["models"]),
    *(["serve", "STUDY"], ["pause", "STUDY"], ["resume", "STUDY"], ["compare", "STUDY"]),
    *(["prune", "STUDY", "--keep", "1"], ["doctor"]),
]

pytestmark = pytest.mark.usefixtures("store_root")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_every_setting_has_a_wrong_value_here() -> None:
    variables = {OF_OTHERS.get(name, f"NIGHTUNE_{name.upper()}") for name in Settings.model_fields}
    assert variables - set(WRONG) == {"PREFECT_PROFILE"}  # any text is valid


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_value_is_one_line_with_name_value_and_what_is_allowed(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, allowed = WRONG[variable]
    monkeypatch.setenv(variable, given)
    done = run("models")
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{variable}: ")
    assert (given in line) == (variable not in WITHHELD)
    assert allowed in line


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_checks_the_settings_first(
    command: list[str], small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTUNE_STORE_PATIENCE_SECONDS", "5m")
    done = run(*(str(small_study) if word == "STUDY" else word for word in command))
    assert done.exit_code == 2, done.output
    assert len(done.stderr.splitlines()) == 1
    assert "'5m'" in done.stderr


def test_a_backend_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    with pytest.raises(SettingsError, match=r"^KERAS_BACKEND: 'jax' is not an installed backend .*jax\)$"):
        read_settings()


@pytest.mark.parametrize(("variable", "given"), MORE_WRONG)
def test_other_wrong_values_are_refused(variable: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, given)
    with pytest.raises(SettingsError, match=f"^{variable}: [^\n]+$") as caught:
        read_settings()
    assert len(str(caught.value)) < 300


def test_all_wrong_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, (given, _) in WRONG.items():
        monkeypatch.setenv(variable, given)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert sorted(line.partition(":")[0] for line in str(caught.value).splitlines()) == sorted(WRONG)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("NIGHTUNE_HOOK", "[]"),
        ("NIGHTUNE_HOOK", '["notify", "--loud"]'),
        ("NIGHTUNE_STACK", "64"),
        ("MLFLOW_TRACKING_URI", "sqlite:////tmp/mlflow.db"),
        ("MLFLOW_TRACKING_URI", "postgresql+psycopg2://tuner@db/mlflow"),
        ("MLFLOW_TRACKING_URI", "postgresql:///mlflow?host=/tmp"),
        ("MLFLOW_TRACKING_URI", "https://tuner:a%40b@mlflow.example:5000/path"),
        *((variable, "") for variable in WRONG),
    ],
)
def test_a_valid_value_is_accepted_and_an_empty_one_is_none(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    usual = read_settings()
    monkeypatch.setenv(variable, value)
    assert (read_settings() == usual) == (value in ("", "[]"))


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NIGHTUNE_STORE", str(tmp_path / "file" / "mlruns"))
    done = run("tune", "study.toml")
    assert done.exit_code == 3
    assert done.stderr.startswith("NIGHTUNE_STORE: ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("NIGHTUNE_WEBHOOK", f"htps://me:{SECRET}@hooks.example.com/{SECRET}?token={SECRET}"),
        ("NIGHTUNE_WEBHOOK", SECRET),
        ("NIGHTUNE_HOOK", f"curl --header {SECRET}"),
        ("NIGHTUNE_HOOK", f'["curl","{SECRET}"'),
        ("NIGHTUNE_HOOK", f'{{"token":"{SECRET}"}}'),
        ("NIGHTUNE_UI_PASSWORD", SECRET[:11]),
        ("MLFLOW_TRACKING_URI", f"htp://tuner:a://{SECRET}@db/mlflow?password={SECRET}"),
        ("MLFLOW_TRACKING_URI", f"tuner:{SECRET}@db"),
        ("PREFECT_API_URL", f"htp://tuner:{SECRET}@prefect/api"),
    ],
)
def test_secrets_are_not_repeated(variable: str, given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, given)
    done = run("models")
    assert done.exit_code == 2
    assert variable in done.stderr
    assert SECRET[:11] not in done.output
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert caught.value.__context__ is None  # pydantic's error would show the value in a traceback


def test_settings_are_printed_without_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTUNE_WEBHOOK", f"https://hooks.example.com/{SECRET}")
    monkeypatch.setenv("NIGHTUNE_HOOK", f'["curl", "{SECRET}"]')
    monkeypatch.setenv("NIGHTUNE_UI_PASSWORD", SECRET)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"https://tuner:{SECRET}@mlflow.example")
    assert SECRET not in repr(read_settings())


def test_only_scheme_and_host_of_an_address_are_shown() -> None:
    assert host_only("https://me:pass@hooks.example.com/T0/B1?x=y") == "https://hooks.example.com/…"


def test_an_unknown_variable_is_a_warning_with_the_nearest_spelling_and_an_inherited_one_is_not(
    nightune: Command,
) -> None:
    inherited = {f"NIGHTUNE_{each.name.upper()}": "something" for each in fields(Event)}
    assert set(inherited) <= set(NOT_SETTINGS)
    done = nightune("models", NIGHTUNE_STORE_PATIENCE="5", **inherited)
    assert done.returncode == 0, done.stderr
    assert "did you mean NIGHTUNE_STORE_PATIENCE_SECONDS?" in done.stderr
    assert done.stderr.count("unknown environment variable") == 1
    assert "NIGHTUNE_STORE_PATIENCE" not in done.stdout
    warned = nightune("models", NIGHTUNE_UNKNOWN="the parent has warned", NIGHTUNE_SUPERVISOR="1")
    assert "unknown environment variable" not in warned.stderr


@pytest.mark.parametrize("options", [["--webhook", "hooks.example.com"], ["--hook", "notify 'me"], ["--hook", '""']])
def test_hooks_of_the_command_line_are_checked_too(options: list[str], small_study: Path, store_root: Path) -> None:
    done = run("serve", str(small_study), *options)
    assert done.exit_code == 2
    assert options[0].removeprefix("--") in done.stderr.lower()
    assert not (store_root / "prefect" / "server.log").exists()


@pytest.mark.parametrize("name", ["tune", "probe", "promote"])
def test_a_flow_that_python_calls_raises_the_same_error(
    name: str, small_study: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    monkeypatch.setenv("NIGHTUNE_SNAPSHOT_SECONDS", "soon")
    with pytest.raises(SettingsError, match="NIGHTUNE_SNAPSHOT_SECONDS: 'soon'"):
        getattr(import_module(f"nightune.flows.{name}"), name)(small_study)


def test_a_wrong_value_disables_its_hook_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTUNE_WEBHOOK", "https://hooks.example.com/x")
    monkeypatch.setenv("NIGHTUNE_HOOK", "notify")
    monkeypatch.setenv("NIGHTUNE_STACK", "many")
    assert hooks() == Hooks("https://hooks.example.com/x", ())


def test_a_hook_that_cannot_run_does_not_fail_a_night(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("notify", '["no-such-command-here"]', '["/dev/null"]'):
        monkeypatch.setenv("NIGHTUNE_HOOK", given)
        assert notify(hooks(), Event("refused", "flowers")) == (given == "notify")  # nothing was named, or it failed


def test_a_command_in_its_own_process_reports_a_wrong_value_in_one_line(
    small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTUNE_HOOK", "notify")
    done = subprocess.run(command_line("tune", small_study), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_reading_the_settings_imports_no_heavy_library() -> None:
    code = "import sys, nightune.settings; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "jax", "prefect", "mlflow", "sklearn", "pandas", "numpy"}
    assert heavy.isdisjoint(done.stdout.split())
