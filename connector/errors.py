"""The base class of every error whose message is for the person who runs a command.

Only the base class belongs here. Each room defines its own errors. Errors that become an HTTP answer, or that
no person reads, do not derive from it.
"""

EXIT_FAILED = 1
EXIT_USAGE = 2


class OperatorError(Exception):
    """An error that a person can fix. The message names the thing, the cause and the next step.

    Attributes:
        exit_code: The exit code of a command that this error ends: 1 for a failure, 2 for wrong usage or
            settings.
    """

    exit_code = EXIT_FAILED
