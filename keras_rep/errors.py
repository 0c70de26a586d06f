"""The package's exceptions."""


class DeployError(ValueError):
    """A model cannot be deployed, or its deployed form differs from it."""


class Skip(Exception):
    """Raised by a rule that fits a call but must not rewrite it.

    Args:
        reason: Why not, as the end of the sentence "left as it is, because".
        call: The call of the graph that is left, if it is another one.
    """

    def __init__(self, reason, call=None):
        super().__init__(reason)
        self.reason = reason
        self.call = call
