"""What a person gave that cannot be used."""


class InputError(ValueError):
    """A mistake in what a study asks for: the study file's key, and a message that holds the remedy."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(key, message)
        self.key = key
        self.message = message

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"
