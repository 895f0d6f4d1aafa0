"""The meaning of an answer of the Verbex API: a result, nothing yet, or one of three errors.

Reading an answer belongs here. It is tolerant: unknown fields are kept, and missing ones are accepted. See
`connector.verbex.client` for the requests. We assume that 404 means "not there yet" and that 429 and 5xx are
temporary: Verbex documents only 422.
"""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from connector.errors import OperatorError
from connector.verbex.credentials import drop_credentials
from connector.verbex.json_text import BOM, replace_halves

_MAX_QUOTE = 200
_UNAUTHORIZED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_TEMPORARY = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
_CALL_FIELDS = {
    *("_id", "ai_agent_id", "messages", "metadata", "call_status", "call_type"),
    *("call_start_time", "call_end_time", "call_duration_seconds", "call_finish_reason"),
}
_IDS_OF_CALL = ("_id", "call_id", "id")
_IDENTITIES = ("_id", "call_id", "ai_agent_id")

Fields = dict[str, msgspec.Raw]
"""The fields of a JSON object, each still as JSON."""
_SURFACE = msgspec.json.Decoder(Fields)


class VerbexError(OperatorError):
    """A request without a usable answer. The message says what was asked, what came back and what to do.

    Attributes:
        http_status: The status of the answer; None if there was none.
        retry_after_s: The wait that the API asked for; None if it did not ask.
        was_sent: Whether the API may have got the request. False only if it is certain that it did not.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        retry_after_s: float | None = None,
        was_sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.was_sent = was_sent


class NotAuthorizedError(VerbexError):
    """An API key that is missing, wrong or not allowed. No further request can succeed."""


class RequestRefusedError(VerbexError):
    """A request that the API understood and refused. The same request would get the same answer again."""


class ApiUnavailableError(VerbexError):
    """A failure of the API or the network. A later request may succeed."""


class AnswerTooLargeError(VerbexError):
    """An answer that is too large or endless. Reading was stopped, and nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `body` is valid JSON, or None if there is nothing (yet), and then `reason` says why.

    The bytes are as received, except that halves of characters become question marks. `fields` holds the
    fields of `body`, each still as JSON, and is empty if `body` is not an object. `retry_after_s` is the wait
    that the API asked for, if it did: also "not there yet" may come with one.
    """

    http_status: int
    body: bytes | None
    reason: str | None = None
    retry_after_s: float | None = None
    fields: Fields = field(default_factory=dict, repr=False, compare=False)

    @property
    def value(self) -> Any:  # noqa: ANN401 - any JSON
        """The JSON of `body`, decoded again on each access; None if there is nothing.

        Raises:
            ApiUnavailableError: It holds a number that is too large to represent.
        """
        try:
            return None if self.body is None else msgspec.json.decode(self.body)
        except msgspec.ValidationError as error:
            raise ApiUnavailableError(
                f"An answer can't be read ({error}). Try again later.", http_status=self.http_status
            ) from None


def read_answer(asked: str, http_status: int, body: bytes, *, retry_after_s: float | None = None) -> Answer:
    """Return the meaning of an HTTP answer.

    Args:
        asked: The request, as error messages name it.
        http_status: The answer's status.
        body: The answer's body, decompressed.
        retry_after_s: The wait that its `Retry-After` asks for.

    Raises:
        NotAuthorizedError: 401 or 403.
        RequestRefusedError: Any other status from 300 to 499 that asking again would not change.
        ApiUnavailableError: 408, 425, 429, 5xx, a body that is not JSON, or an error reported inside a 2xx.
    """
    if http_status == HTTPStatus.NO_CONTENT:
        return Answer(http_status, None, retry_after_s=retry_after_s)
    body = body.removeprefix(BOM)
    try:
        body, fields = _read_surface(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        _raise_for(asked, http_status, _looks_like(body), retry_after_s)
        raise ApiUnavailableError(
            f"{asked} got {http_status} with {_looks_like(body)} instead of JSON. Try again later."
            " If this continues, check whether a proxy answers in place of VERBEX_API_URL.",
            http_status=http_status,
            retry_after_s=retry_after_s,
        ) from None
    status = _status_within(fields, http_status)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        _raise_for(asked, status, _reason_within(fields), retry_after_s)
        return Answer(http_status, None, _reason_within(fields), retry_after_s)
    return Answer(http_status, body, retry_after_s=retry_after_s, fields=fields)


def read_pca(answer: Answer) -> Answer:
    """Return the answer if it holds PCA items, wrapped in `data` or bare, else an answer without a body."""
    if answer.body is None:
        return answer
    outer, inner = answer.fields, _fields_within(answer)
    if bytes(inner.get("items", b""))[:1] == b"[" and bytes(inner.get("available", b"")) != b"false":
        return answer
    reason = _reason_within(inner) or _reason_within(outer) or "the answer holds no items"
    return Answer(answer.http_status, None, reason, answer.retry_after_s)


def read_call(asked: str, answer: Answer) -> Answer:
    """Return the answer if it has any field of a call. If it says that there is none, return no body.

    Raises:
        ApiUnavailableError: It is JSON, but not a call.
    """
    if answer.body is None:
        return answer
    fields = _fields_within(answer)
    if fields.keys() & _CALL_FIELDS:
        return answer
    reason = _reason_within(fields) or _reason_within(answer.fields)
    if bytes(fields.get("available", b"")) == b"false":
        return Answer(answer.http_status, None, reason or "the call is not available", answer.retry_after_s)
    quoted = f" ({reason})" if reason else ""
    raise ApiUnavailableError(
        f"{asked} got JSON that is not a call{quoted}. Try again later.",
        http_status=answer.http_status,
        retry_after_s=answer.retry_after_s,
    )


def read_dialled(asked: str, answer: Answer) -> Answer:
    """Return the answer if it says that a call was made.

    Raises:
        RequestRefusedError: 404, so that nothing was made.
        ApiUnavailableError: It is JSON, but says neither. A call may have been made.
    """
    reason = f" ({answer.reason})" if answer.reason else ""
    if answer.http_status == HTTPStatus.NOT_FOUND:
        raise RequestRefusedError(
            f"{asked} got 404{reason}. The same request would fail again. Check the request and"
            " VERBEX_API_URL.",
            http_status=answer.http_status,
            retry_after_s=answer.retry_after_s,
        )
    is_created = answer.http_status == HTTPStatus.CREATED
    if answer.body is None or not (is_created or id_of_call(answer)):
        raise ApiUnavailableError(
            f"{asked} got {answer.http_status} without a call{reason}. Look for it at Verbex.",
            http_status=answer.http_status,
            retry_after_s=answer.retry_after_s,
        )
    return answer


def id_of_call(answer: Answer) -> str | None:
    """Return the id of the call that an answer is about, or None if it names none."""
    fields = _fields_within(answer)
    return next(filter(None, (_text_of(fields.get(name)) for name in _IDS_OF_CALL)), None)


def fields_of(value: bytes | msgspec.Raw) -> Fields:
    """Return the fields of a JSON object, each still as JSON. For any other JSON, return none."""
    try:
        return _SURFACE.decode(value)
    except msgspec.DecodeError:
        return {}


def _raise_for(asked: str, status: int, reason: str | None, retry_after_s: float | None) -> None:
    quoted = f" ({reason})" if reason else ""
    if status in _UNAUTHORIZED:
        # The reason is not quoted, because it could contain the key.
        raise NotAuthorizedError(
            f"{asked} got {status}. Verbex does not accept the API key. Set VERBEX_API_KEY to a key of your"
            " organization that may read calls and post-call analyses, then run this again.",
            http_status=status,
            retry_after_s=retry_after_s,
        )
    if status in _TEMPORARY or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ApiUnavailableError(
            f"{asked} got {status}{quoted}. Try again later.",
            http_status=status,
            retry_after_s=retry_after_s,
        )
    if status >= HTTPStatus.MULTIPLE_CHOICES and status != HTTPStatus.NOT_FOUND:
        raise RequestRefusedError(
            f"{asked} got {status}{quoted}. The same request would fail again. Check the request and"
            " VERBEX_API_URL.",
            http_status=status,
            retry_after_s=retry_after_s,
        )


def _read_surface(body: bytes) -> tuple[bytes, Fields]:
    """Check the whole body and read its fields, in a tenth of the time of decoding everything."""
    try:
        body.decode()
        return body, _SURFACE.decode(body)
    except msgspec.ValidationError:
        msgspec.json.decode(body)
        return body, {}
    except msgspec.DecodeError:
        fixed = replace_halves(body)
        if fixed == body:
            raise
        return fixed, fields_of(fixed)


def _fields_within(answer: Answer) -> Fields:
    """Return the fields of the answer's `data`, or its own fields if it is not wrapped.

    An answer that names its call or agent is not: a field `data` in it is one that we don't know.
    """
    if "data" not in answer.fields or answer.fields.keys() & set(_IDENTITIES):
        return answer.fields
    return fields_of(answer.fields["data"])


def _status_within(fields: Fields, http_status: int) -> int:
    """Return the status that counts. An error reported inside a 2xx counts like the answer's own status."""
    if http_status >= HTTPStatus.MULTIPLE_CHOICES:
        return http_status
    reported = bytes(fields.get("status", b""))
    if len(reported) == 3 and reported.isdigit() and reported[:1] in (b"4", b"5"):
        return int(reported)
    is_error = _has(fields, "error") and not _has(fields, "data")
    return HTTPStatus.BAD_GATEWAY if is_error and not fields.keys() & {"items", "_id"} else http_status


def _reason_within(fields: Fields) -> str | None:
    for name in ("message", "detail", "error"):
        if _has(fields, name):
            return _quote(fields[name])
    return None


def _quote(reason: msgspec.Raw) -> str:
    """Return the API's reason, cut short and without credentials, because it is stored like an answer."""
    try:
        clean = drop_credentials(bytes(reason))
        value = msgspec.json.decode(clean)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError):
        return "a reason that can't be read"
    return (value if isinstance(value, str) else clean.decode())[:_MAX_QUOTE]


def _text_of(value: msgspec.Raw | None) -> str | None:
    return msgspec.json.decode(value) if value is not None and bytes(value).startswith(b'"') else None


def _has(fields: Fields, name: str) -> bool:
    return bytes(fields.get(name, b"null")) not in (b"null", b"false", b'""', b"0", b"[]", b"{}")


def _looks_like(body: bytes) -> str:
    start = body.lstrip()[:1]
    if start == b"<":
        return "an HTML page"
    if start in (b"{", b"["):
        return "JSON that is cut short or broken"
    return f"{len(body)} bytes" if body else "an empty body"
