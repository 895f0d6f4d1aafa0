"""Text for a terminal: what must not reach it, and the sentence with which a command ends.

Nothing that takes long to import belongs here: a command that ends at once needs it, too.
"""

import sys
from typing import NoReturn
from unicodedata import category

import click


def fail(message: str, code: int) -> NoReturn:
    """Print the reason on standard error, and exit with `code`."""
    warn(message)
    sys.exit(code)


def warn(message: str) -> None:
    """Print a message on standard error."""
    click.echo(printable(message), err=True)


def printable(text: str) -> str:
    """Return `text` with its control characters escaped, so that data can't control a terminal."""
    return "".join(f"\\x{ord(char):02x}" if is_control(char) else char for char in text)


def is_control(char: str) -> bool:
    """Return whether a terminal obeys a character instead of showing it. Line ends and tabs are safe."""
    return category(char) == "Cc" and char not in "\n\t"
