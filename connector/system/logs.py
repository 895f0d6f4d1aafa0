"""Logs as one JSON object a line on standard error, for people with `jq` and for collectors.

The shape of a line belongs here. Fields are given as `extra=` and stand beside the message. No secret,
payload or signature is ever passed to a logger, so errors of the HTTP parser, which quote what they
could not parse, are logged by their type alone.
"""

import logging
import sys
from datetime import UTC, datetime
from traceback import format_exception

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Formats a record as `{"at", "level", "logger", "message", ...fields, "traceback"?}`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **{name: value for name, value in vars(record).items() if name not in _STANDARD},
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["traceback"] = "".join(format_exception(record.exc_info[1]))
        return msgspec.json.encode(line, enc_hook=str).decode()


def log_as_json() -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
