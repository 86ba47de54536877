"""Help must be quick: a command imports only what it needs."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("tensorflow", "keras", "jax", "prefect", "mlflow", "sklearn", "pandas")
TRAINING = {"tensorflow", "keras", "jax", "mlflow", "distributed", "dask"}


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


def test_importing_flows_imports_no_training_library() -> None:
    """All in one process: what one of them imports, the print after it names."""
    lines = ["import sys"]
    for module in ("train_cohort", "tune", "probe", "promote"):
        package = "tasks" if module == "train_cohort" else "flows"
        lines += [f"import nightune.{package}.{module}", f"print({module!r}, *{TRAINING} & sys.modules.keys())"]
    output = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert output.stdout.splitlines() == ["train_cohort", "tune", "probe", "promote"]


def test_checking_a_study_imports_no_training_library_before_a_model_is_built(tmp_path: Path) -> None:
    good, bad = tmp_path / "cancer.toml", tmp_path / "bad.toml"
    good.write_text(Path("studies/breast_cancer.toml").read_text())
    bad.write_text(good.read_text() + "[unknown]")
    script = f"""
from typer.testing import CliRunner
from nightune.flows.commands.main import app
for words, code in ([{str(bad)!r}], 2), ([{str(good)!r}, "--no-build"], 0):
    result = CliRunner().invoke(app, ["check", *words])
    assert result.exit_code == code, result.output
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
