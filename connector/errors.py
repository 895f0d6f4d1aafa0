"""The base of every error whose text is meant for the person at the keyboard.

Only the base belongs here; each room defines its own errors. Errors that a sender is answered over HTTP, or
that no person is to read, do not derive from it.
"""

EXIT_FAILED = 1
EXIT_USAGE = 2


class OperatorError(Exception):
    """Something a person can fix. The message names the thing, the cause and the next step.

    Attributes:
        exit_code: How a command ends that it stops: 1 if the command failed, 2 for wrong usage or settings.
    """

    exit_code = EXIT_FAILED
