"""Errors of a store; the command line prints them as one paragraph and exits with code 3."""


class StoreError(Exception):
    """The store cannot be used; the text gives the remedy."""


class StoreLostError(StoreError):
    """The store has not answered within the time limit; finished trials are kept."""


class StudyBusyError(StoreError):
    """Another process is running the study."""


class SweepNotFoundError(StoreError):
    """No such sweep; the text lists the existing ones."""


class RefusedRequestError(StoreError):
    """MLflow refused a request, for example because an object was deleted. `code` is MLflow's error code."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class DamagedRecordError(StoreError):
    """A record that was changed or deleted; the text names the object, the field and what is expected."""
