"""Help must be quick: a command imports only what it needs."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("tensorflow", "keras", "jax", "prefect", "mlflow", "sklearn", "pandas")


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys\nprint(*sorted(name for name in sys.modules if '.' not in name))"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(output.stdout.split())


def test_help_imports_no_heavy_library() -> None:
    code = """
from typer.testing import CliRunner
from nightune.flows.commands.main import app
assert "leaderboard" in CliRunner().invoke(app, ["--help"]).output
assert "--trials" in CliRunner().invoke(app, ["tune", "--help"]).output.replace("\\n", "")
"""
    assert modules_after(code).isdisjoint(HEAVY)


@pytest.mark.parametrize(
    "module", ["nightune.flows.tune", "nightune.flows.probe", "nightune.flows.promote", "nightune.tasks.train_cohort"]
)
def test_importing_a_flow_imports_no_training_library(module: str) -> None:
    assert modules_after(f"import {module}").isdisjoint({"tensorflow", "keras", "jax", "mlflow", "distributed", "dask"})


@pytest.mark.parametrize(("end", "code"), [("", 0), ("[unknown]", 2)])
def test_checking_a_study_imports_no_training_library_before_a_model_is_built(
    tmp_path: Path, end: str, code: int
) -> None:
    study = tmp_path / "cancer.toml"
    study.write_text(Path("studies/breast_cancer.toml").read_text() + end)
    options = ["--no-build"] if code == 0 else []
    script = f"""
from typer.testing import CliRunner
from nightune.flows.commands.main import app
result = CliRunner().invoke(app, ["check", {str(study)!r}, *{options}])
assert result.exit_code == {code}, result.output
"""
    assert modules_after(script).isdisjoint({"tensorflow", "keras", "jax", "mlflow"})


def test_prefect_loads_every_entrypoint() -> None:
    from prefect.flows import load_flow_from_entrypoint

    for name in ("tune", "probe", "promote"):
        assert load_flow_from_entrypoint(f"flows/{name}.py:{name}", use_placeholder_flow=False).name == name


def test_prefect_loads_the_entrypoints_of_prefect_yaml() -> None:
    import yaml
    from prefect.flows import load_flow_from_entrypoint

    deployments = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        flow = load_flow_from_entrypoint(deployment["entrypoint"], use_placeholder_flow=False)
        assert set(deployment["parameters"]) <= set(flow.parameters.properties)
        assert Path(deployment["parameters"]["study_file"]).is_file()
