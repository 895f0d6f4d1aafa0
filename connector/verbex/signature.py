"""Webhook signatures: `sign`, `verify`, and one error.

Only the scheme belongs here: what is signed, the form of the header, and when it is too old.
`connector.receiver.auth` decides which requests must be signed.

Verbex documents the header `X-Webhook-Signature`, secrets that begin with `whsec_`, and one `v1=` value for
each valid secret during a rotation. It does not document the signed text. We assume the common scheme, and
only this module knows it: `t=<unix seconds>,v1=<hex>[,v1=<hex>]`. Each `v1` is the HMAC-SHA256 of `<t>.`
followed by the raw body, with the secret as the key.
"""

import hmac
from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

SIGNATURE_HEADER = "X-Webhook-Signature"

_MAX_SECONDS_DIGITS = 15


class SignatureError(Exception):
    """A signature that is not valid. The message says why, and quotes neither the header nor a secret."""

    def __init__(self, reason: Literal["malformed", "mismatch", "expired"], message: str) -> None:
        super().__init__(message)
        self.reason = reason


def sign(body: bytes, secrets: Iterable[str], *, signed_at_s: int) -> str:
    """Return the header value for `body`, with one `v1` for each secret.

    Args:
        body: The raw bytes of the request body.
        secrets: The valid secrets, as Verbex shows them; two of them during a rotation.
        signed_at_s: The time of signing, UTC, UNIX seconds.
    """
    stamp = str(signed_at_s)
    return ",".join([f"t={stamp}", *(f"v1={_digest(secret, stamp, body)}" for secret in secrets)])


def verify(body: bytes, header: str, secrets: Iterable[str], *, now_s: float, tolerance_s: float) -> None:
    """Raise an error unless a `v1` of `header` is the signature of `body` with one of `secrets`.

    The comparison takes constant time. The age is checked after it, so that only a real sender learns that
    its clock is wrong or its retry is late.

    Args:
        body: The raw bytes of the request body, before any decoding.
        header: The value of `X-Webhook-Signature`. It is not trusted.
        secrets: The secrets that are valid now.
        now_s: The current time, UTC, UNIX seconds.
        tolerance_s: The largest difference between `t` and `now_s`, in both directions.

    Raises:
        SignatureError: The signature is not valid. No header causes any other error.
    """
    stamp, candidates = _parse(header)
    matches = 0
    for secret in secrets:
        expected = _digest(secret, stamp, body)
        for candidate in candidates:  # all of them, so that the duration reveals nothing
            matches += hmac.compare_digest(expected, candidate)
    if not matches:
        raise SignatureError(
            "mismatch",
            "No v1 value is the signature of this body. Sign the raw body with a secret of this receiver.",
        )
    if abs(now_s - int(stamp)) > tolerance_s:
        raise SignatureError(
            "expired",
            f"The signature's time differs from this machine's clock by more than {tolerance_s:g} s."
            " Check both clocks.",
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
    if not header.isascii():  # `compare_digest` accepts only ASCII text
        raise SignatureError("malformed", "The signature header must contain only ASCII characters.")
    stamps, candidates = [], []
    for part in header.split(","):
        key, _, value = part.strip().partition("=")
        if key == "v1":
            candidates.append(value)
        elif key == "t":
            stamps.append(value)
    if len(stamps) != 1 or not stamps[0].isdigit() or len(stamps[0]) > _MAX_SECONDS_DIGITS:
        raise SignatureError("malformed", "The signature header must contain exactly one t=<unix seconds>.")
    if not candidates:
        raise SignatureError("malformed", "The signature header must contain at least one v1=<hex>.")
    return stamps[0], candidates
