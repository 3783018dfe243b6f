"""What can go wrong, by whose mend it is.

Every message names the file and field at fault and says how to mend it. Messages never quote
a forget set: they are shown to operators and written to logs.
"""


class GuardError(Exception):
    """Base of all errors that Guard raises on purpose."""


class PolicyError(GuardError):
    """The policy file is wrong."""


class DataError(GuardError):
    """A forget or retain set is wrong."""


class BundleError(GuardError):
    """A bundle is missing, damaged, foreign or newer than this version."""


class BusyError(BundleError):
    """A bundle is being changed by somebody else at this moment."""


class ModelError(GuardError):
    """A model cannot be found, prepared or read."""


class EngineError(GuardError):
    """The guard cannot be fitted to this vLLM, or is not live in it."""


class DetectionError(GuardError):
    """A request could not be judged, so it must not be answered."""


class InterventionError(GuardError):
    """What was decided about a flagged request could not be done: it must never be answered."""


class OutputError(GuardError):
    """An answer could not be checked: no more of it must leave."""


class OverloadError(DetectionError):
    """A request came while too many waited or hung: it must not be answered."""


class AuditError(GuardError):
    """The audit cannot be written, or is wrong: what has to be in it must not happen."""
