"""The option `--version`: Nightune's version, and those of the libraries that results depend on."""

import platform
from importlib.metadata import PackageNotFoundError, version

import typer

from nightune import __version__
from nightune.flows.runtime.text_streams import show_every_text

LIBRARIES = ("keras", "tensorflow", "jax", "numpy", "mlflow", "prefect")


def print_version(is_asked: bool) -> None:
    """Print the versions and end the command, if they are asked for."""
    if is_asked:
        show_every_text()
        typer.echo(f"nightune {__version__}")
        typer.echo(" · ".join([f"python {platform.python_version()}", *_installed()]))
        raise typer.Exit


def _installed() -> list[str]:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} is not installed")
    return found
