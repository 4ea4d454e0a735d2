"""Errors that a user can fix.

Each message says what is wrong, names the value and what is allowed, and suggests a remedy.
"""


class CovidxrError(Exception):
    """An error that the user can fix; its message is shown without a traceback."""


class ConfigError(CovidxrError):
    """A setting has an invalid value."""


class DatasetError(CovidxrError):
    """A dataset has an unexpected layout, or a split does not fit it."""


class ImageError(CovidxrError):
    """A file cannot be read as a radiograph."""


class ModelError(CovidxrError):
    """A stored model is missing, damaged, or of another format."""


class RunError(CovidxrError):
    """A training run cannot be started, resumed or read."""


class Cancelled(Exception):  # noqa: N818  (a request, not an error)
    """The user asked a run to stop; its last checkpoint is kept."""
