"""What can be wrong with a store; the command line tells these in one paragraph and ends with code 3."""


class StoreError(Exception):
    """The store cannot be used; the text says what to do."""


class StoreLostError(StoreError):
    """The store has not answered within the bound; what is finished is kept."""


class StudyBusyError(StoreError):
    """Another process works on the study."""


class SweepNotFoundError(StoreError):
    """No such sweep; the text lists those there are."""
