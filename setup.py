"""Install the folders flows/, tasks/, tuning/ and models/ as packages of `nightune`. All else is in pyproject.toml."""

from setuptools import find_packages, setup

FOLDERS = ("flows", "tasks", "tuning", "models")

setup(
    packages=[
        "nightune",
        *(f"nightune.{name}" for name in find_packages(include=[f"{folder}*" for folder in FOLDERS])),
    ],
    package_dir={f"nightune.{folder}": folder for folder in FOLDERS},
)
