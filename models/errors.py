"""Errors of invalid input."""


class InputError(ValueError):
    """Invalid input of a study: the key in the study file, and a message with the remedy."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(key, message)
        self.key = key
        self.message = message

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class DamagedDataError(InputError):
    """Prepared data in the store that cannot be read: a fault of the store, not of the study."""
