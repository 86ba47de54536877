"""What surrounds a command: proxies, folders, user, terminal, locale. Each works, or one line says what is allowed."""

import io
import json
import os
import pwd
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nightune.flows.commands.main import app
from nightune.flows.runtime.text_streams import json_text, show_every_text
from nightune.proxies import ask_loopback_directly, proxy_problems
from nightune.tasks.http import request_status
from nightune.tasks.tracking.store.store import open_store
from tests.flows.conftest import Command, last_json

NOWHERE = "http://127.0.0.1:9"
WORKS: list[dict[str, str]] = [
    {"HTTP_PROXY": NOWHERE, "http_proxy": NOWHERE},
    {"https_proxy": "127.0.0.1:9"},
    {"ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": "*"},
    {"NO_PROXY": "intranet, .example.com, 10.0.0.0/8, ::1, host:8080"},
    {"PREFECT_PROFILE": "ephemeral"},
    {"NO_COLOR": "1"},
    {"TERM": "dumb"},
    {"FORCE_COLOR": "1"},
    {"HOME": "/nonexistent"},
    {"TMPDIR": ""},
]
REFUSED: list[tuple[str, str, int, str]] = [
    ("ALL_PROXY", "socks5://127.0.0.1:9", 2, "httpx[socks]"),
    ("http_proxy", "foo://127.0.0.1:9", 2, "http://"),
    ("HTTPS_PROXY", "http://proxy:port", 2, "http://"),
    ("no_proxy", "localhost,fe80::/10", 2, "host names"),
    ("NO_PROXY", "[::1]", 2, "host names"),
    ("PREFECT_PROFILE", "ephemral", 2, "did you mean 'ephemeral'"),
    ("TMPDIR", "/nonexistent", 2, "can be written to"),
    ("TMP", "/proc", 2, "can be written to"),
    ("MLFLOW_TRACKING_URI", "./mlruns", 2, "sqlite:///"),
    ("MLFLOW_TRACKING_URI", "localhost:5000", 2, "http://"),
    ("MLFLOW_TRACKING_URI", "htp://nowhere", 2, "http://"),
    ("MLFLOW_TRACKING_URI", "mysql+nosuch://nowhere/x", 3, "+DRIVER"),
    ("MLFLOW_TRACKING_URI", "mssql+pymssql://nowhere/x", 3, "pymssql"),
    ("MLFLOW_TRACKING_URI", "postgresql://nowhere:port/x", 3, "sqlite:///FILE"),
    ("MLFLOW_TRACKING_URI", "sqlite:////proc/nowhere/x.db", 3, "write to"),
    ("MLFLOW_TRACKING_URI", "sqlite:////tmp", 3, "Is a directory"),
    ("NIGHTUNE_STORE", "/proc/nowhere", 3, "write to"),
    ("NIGHTUNE_STORE", "/proc", 3, "write to"),
]
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

pytestmark = pytest.mark.usefixtures("store_root", "plain_environment")


@pytest.fixture
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def check(study: Path, charset: str = "utf-8", *options: str) -> Result:
    return CliRunner(charset=charset).invoke(app, ["check", str(study), "--no-build", *options])


@pytest.mark.parametrize("environment", WORKS, ids=str)
def test_a_command_works(environment: dict[str, str], small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = check(small_study)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""


@pytest.mark.parametrize(("variable", "value", "code", "allowed"), REFUSED)
def test_one_line_names_variable_value_and_what_is_allowed(
    variable: str, value: str, code: int, allowed: str, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    began = time.monotonic()
    command = ["probe"] if variable == "NIGHTUNE_STORE" else ["check", "--no-build"]  # check needs no store
    done = CliRunner().invoke(app, [*command, str(small_study)])
    assert time.monotonic() - began < 5
    assert done.exit_code == code, done.output
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{variable}: ")
    assert value.rpartition(",")[2] in line
    assert allowed in line


@pytest.mark.parametrize("address", ["/api", "", "/of-no-api"])
def test_a_dead_prefect_server_is_said_before_prefect_is_imported(
    address: str, small_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        given = f"http://127.0.0.1:{closed.getsockname()[1]}{address}"
    monkeypatch.setenv("PREFECT_API_URL", given)
    done = CliRunner().invoke(app, ["probe", str(small_study)])
    assert done.exit_code == 3, done.output
    assert f"PREFECT_API_URL: no Prefect server answers at {given}. " in done.stderr.splitlines()[-1]


def test_no_usual_folder_for_temporary_files_is_said(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "gettempdir", none)
    done = check(small_study)
    assert (done.exit_code, done.stderr.partition(":")[0]) == (2, "TMPDIR")


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16"])
def test_every_text_is_printed_in_every_encoding(charset: str, small_study: Path) -> None:
    done = check(small_study, charset)
    assert done.exit_code == 0, done.output
    assert "iris" in done.stdout
    assert ("·" in done.stdout) == (charset != "ascii")
    as_json = check(small_study, charset, "--json")
    assert last_json(as_json.stdout)["data"]["source"] == "iris"


def test_similar_characters_stand_in_for_those_that_an_encoding_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    show_every_text()
    stream.write("a · b … 2 × 3 → é ─ 漢 \udcff")
    stream.flush()
    assert stream.buffer.getvalue() == b"a - b ... 2 x 3 -> e - ? \xff"  # type: ignore[attr-defined]
    value = {"é": "漢 \udcff"}
    assert json_text(value).isascii()
    assert json.loads(json_text(value)) == value


def test_an_error_handler_that_a_person_chose_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="xmlcharrefreplace")
    monkeypatch.setattr(sys, "stderr", stream)
    show_every_text()
    assert stream.errors == "xmlcharrefreplace"


def test_a_user_without_a_name_or_a_home_is_no_obstacle(small_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: object) -> None:
        raise KeyError("uid not found")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert check(small_study).exit_code == 0
    done = CliRunner().invoke(app, ["models"])
    assert done.exit_code == 0, done.output
    assert os.environ["LOGNAME"] == f"user-{os.getuid()}"
    assert Path.home() == Path(os.environ["NIGHTUNE_STORE"]).resolve() / "home"


def test_files_for_the_owner_alone_and_a_study_in_a_folder_that_cannot_be_written(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, store = tmp_path / "studies", tmp_path / "another"
    folder.mkdir()
    study = small_study.rename(folder / "flowers.toml")
    study.chmod(0o400)
    folder.chmod(0o500)
    monkeypatch.setenv("NIGHTUNE_STORE", str(store))
    with umask(0o077):
        assert check(study).exit_code == 0
        open_store(store)
    assert stat.S_IMODE((store / "mlflow.db").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["flowers.toml"]


def test_a_command_in_the_locale_of_posix_prints_all(small_study: Path, nightune: Command) -> None:
    plain = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
    done = nightune("check", small_study, "--no-build", **plain)
    assert done.returncode == 0, done.stderr
    assert "iris - multiclass" in done.stdout


@pytest.mark.nights
def test_a_sweep_behind_a_proxy_asks_its_own_servers_directly(small_study: Path, nightune: Command) -> None:
    proxied = {name: NOWHERE for lower in PROXIES[:3] for name in (lower, lower.upper())}
    done = nightune("tune", small_study, "--trials", "1", "--json", **proxied, NO_PROXY="intranet", no_proxy="")
    assert done.returncode == 0, done.stderr
    assert '"completed": 1' in done.stdout


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "intra"}, {"no_proxy": "a,b", "NO_PROXY": "c"}, {"NO_PROXY": "*"}])
def test_loopback_is_excepted_from_proxies(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    ask_loopback_directly()
    ask_loopback_directly()
    both = os.environ["no_proxy"].split(",")
    assert os.environ["NO_PROXY"].split(",") == both
    assert both == ["*"] or [*both[-3:]] == ["127.0.0.1", "localhost", "::1"]
    assert {entry for value in given.values() for entry in value.split(",")} <= set(both)
    assert len(set(both)) == len(both)
    assert proxy_problems() == []


def test_a_request_to_loopback_passes_a_proxy_by(monkeypatch: pytest.MonkeyPatch) -> None:
    from threading import Thread

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        Thread(target=answer, daemon=True).start()
        monkeypatch.setenv("HTTP_PROXY", NOWHERE)
        ask_loopback_directly()
        assert request_status("GET", f"http://127.0.0.1:{server.getsockname()[1]}/", 5) == 204


def test_the_password_of_a_proxy_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "foo://me:hunter2@proxy:1")
    (line,) = proxy_problems()
    assert "hunter2" not in line


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
