"""Nightune tunes Keras models overnight: one study file, a Prefect flow, every trial in MLflow."""

__version__ = "0.1.0"
