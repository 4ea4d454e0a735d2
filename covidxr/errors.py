"""One tree of errors a user can mend. Each sentence says what is wrong, the value, what is allowed and the cure."""


class CovidxrError(Exception):
    """A mistake that the user can mend; the sentence is shown as it is, without a traceback."""


class ConfigError(CovidxrError):
    """A setting has a value that makes no sense."""


class DatasetError(CovidxrError):
    """A dataset folder or zip is not laid out as expected, or a split does not fit it."""


class ImageError(CovidxrError):
    """A file cannot be read as a radiograph."""


class ModelError(CovidxrError):
    """A stored model is missing, damaged, or of another format."""


class RunError(CovidxrError):
    """A training run cannot be started, resumed or read."""


class Cancelled(Exception):  # noqa: N818  (a request, not an error)
    """The user asked a run to stop; what its last checkpoint holds is kept."""
