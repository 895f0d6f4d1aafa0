"""Webhook signatures: two verbs, `sign` and `verify`, and one error.

Only the scheme belongs here: what is signed, how the header reads, when it is too old. Which requests
must be signed is `connector.receiver.auth`'s to say.

Verbex documents the header `X-Webhook-Signature`, secrets that begin with `whsec_`, and one `v1=` value
for each valid secret while a rotation lasts. It does not document the signed text. We assume the common
scheme, and only this module knows it: `t=<unix seconds>,v1=<hex>[,v1=<hex>]`, where each `v1` is
HMAC-SHA256 with the secret as given for a key, over `<t>.` followed by the raw body.
"""

import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

SIGNATURE_HEADER = "X-Webhook-Signature"

_MAX_SECONDS_DIGITS = 15


class SignatureError(Exception):
    """The signature proves nothing; the message says why and quotes neither header nor secret."""

    def __init__(self, reason: Literal["malformed", "mismatch", "expired"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


def sign(body: bytes, secrets: Iterable[str], *, signed_at_s: int) -> str:
    """The header value for `body`: one `v1` for each secret.

    Args:
        body: The raw bytes of the request body.
        secrets: The valid secrets, as Verbex shows them; two of them while a rotation lasts.
        signed_at_s: UTC, UNIX seconds.
    """
    stamp = str(signed_at_s)
    return ",".join([f"t={stamp}", *(f"v1={_digest(secret, stamp, body)}" for secret in secrets)])


def verify(body: bytes, header: str, secrets: Iterable[str], *, now_s: float, tolerance_s: float) -> None:
    """Return if any `v1` of `header` is the signature of `body` by any of `secrets`.

    Compares in constant time, and the age only after that, so that only a genuine sender learns that
    its clock or its retry is off.

    Args:
        body: The raw bytes of the request body, before any decoding.
        header: The value of `X-Webhook-Signature`, however hostile.
        secrets: The secrets that are valid now.
        now_s: UTC, UNIX seconds.
        tolerance_s: How far `t` may lie from `now_s`, in either direction.

    Raises:
        SignatureError: and nothing else, whatever the header holds.
    """
    stamp, candidates = _parse(header)
    matches = 0
    for secret in secrets:
        expected = _digest(secret, stamp, body)
        for candidate in candidates:  # all of them, so that the time taken tells nothing
            matches += hmac.compare_digest(expected, candidate)
    if not matches:
        raise SignatureError("mismatch", "No v1 value is the signature of this body by a secret known here.")
    if abs(now_s - int(stamp)) > tolerance_s:
        raise SignatureError(
            "expired", f"The signature's time lies more than {tolerance_s:g} s from this machine's clock."
        )


def _digest(secret: str, stamp: str, body: bytes) -> str:
    code = _keyed(secret).copy()
    code.update(b"%b.%b" % (stamp.encode(), body))
    return code.hexdigest()


@lru_cache(maxsize=64)
def _keyed(secret: str) -> hmac.HMAC:
    # Setting up the key takes longer than hashing a body, and the secrets are always the same.
    return hmac.new(secret.encode(), digestmod="sha256")


def _parse(header: str) -> tuple[str, list[str]]:
    if not header.isascii():  # `compare_digest` takes ASCII text only
        raise SignatureError("malformed", "The signature header holds characters that are not ASCII.")
    stamps, candidates = [], []
    for part in header.split(","):
        key, _, value = part.strip().partition("=")
        if key == "v1":
            candidates.append(value)
        elif key == "t":
            stamps.append(value)
    if len(stamps) != 1 or not stamps[0].isdigit() or len(stamps[0]) > _MAX_SECONDS_DIGITS:
        raise SignatureError("malformed", "The signature header needs one t=<unix seconds>.")
    if not candidates:
        raise SignatureError("malformed", "The signature header needs at least one v1=<hex>.")
    return stamps[0], candidates
