"""Logs as one JSON object per line on standard error, for people with `jq` and for log collectors.

The shape of a line belongs here. Callers pass fields as `extra=`, and each becomes a field next to the
message. No secret, payload or signature is ever passed to a logger. Errors of the HTTP parser quote what they
could not parse, so only their type is logged.
"""

import logging
import sys
from datetime import UTC, datetime
from traceback import format_exception

import msgspec

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """The format of a record: `{"at", "level", "logger", "message", ...fields, "traceback"?}`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
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
