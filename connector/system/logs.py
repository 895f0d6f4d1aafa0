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


class RepetitionFilter(logging.Filter):
    """Lets only some records of one kind pass in a while, so that no sender can fill the disk with lines.

    The first one that passes after that says in `left_out` how many did not. A kind is what one line of code
    logs, whatever its fields are.
    """

    def __init__(self, *, burst: int = 50, interval_s: float = 60.0) -> None:
        """Prepare.

        Args:
            burst: The records of one kind that pass in each interval.
            interval_s: The length of an interval.
        """
        super().__init__()
        self._burst = burst
        self._interval_s = interval_s
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record passes."""
        kind = (record.pathname, record.lineno, record.levelname)
        began_at_s, count = self._seen.get(kind, (record.created, 0))
        if not 0 <= record.created - began_at_s < self._interval_s:  # the clock may jump back
            if count > self._burst:
                record.left_out = count - self._burst
            began_at_s, count = record.created, 0
        self._seen[kind] = began_at_s, count + 1
        return count < self._burst


def log_as_json() -> None:
    """Send the log lines of this process to standard error as JSON. Of many equal ones, some are left out."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(RepetitionFilter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
