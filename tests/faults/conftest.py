"""Faults are injected into sweeps as users run them: with the command line's own fixtures."""

from tests.flows.conftest import nightune, small_study

__all__ = ["nightune", "small_study"]
