"""Who may deliver: a signature, a bearer token, or anybody where that was asked for.

The policy belongs here, and that it fails closed. How a signature is made is `connector.verbex.signature`'s.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from connector.landing.zones import VerifiedBy
from connector.settings import Settings, SettingsError
from connector.verbex.signature import SIGNATURE_HEADER, SignatureError, verify


class AuthenticationError(Exception):
    """The request shows no proof, or a wrong one; `reason` is a short word for it, for counting."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Authenticator:
    """What proves that a request may deliver; any one of the proofs that are configured is enough."""

    secrets: tuple[str, ...] = field(repr=False)
    token: str | None = field(repr=False)
    allow_unsigned: bool
    tolerance_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "Authenticator":
        """The policy that the settings describe.

        Raises:
            SettingsError: They would let nobody in, or rather, they forgot to say whom.
        """
        if not (settings.webhook_secrets or settings.webhook_token or settings.allow_unsigned):
            raise SettingsError(
                "The receiver does not know whom to trust. Set VERBEX_WEBHOOK_SECRETS to the signing "
                "secret that Verbex shows for the webhook, or VERBEX_WEBHOOK_TOKEN to a bearer token that it "
                "is told to send; or set VERBEX_ALLOW_UNSIGNED=true to accept events from anybody."
            )
        return cls(
            secrets=tuple(secret.get_secret_value() for secret in settings.webhook_secrets),
            token=settings.webhook_token.get_secret_value() if settings.webhook_token else None,
            allow_unsigned=settings.allow_unsigned,
            tolerance_s=settings.signature_tolerance_s,
        )

    def authenticate(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> VerifiedBy:
        """Say by what the request is proven. A proof that is there but wrong never passes as unsigned.

        Args:
            headers: The request's headers, looked up without regard to case.
            body: The raw body.
            now_s: UTC, UNIX seconds.

        Raises:
            AuthenticationError: It is not proven; the message quotes nothing of the request.
        """
        refusal: AuthenticationError | None = None
        signature = headers.get(SIGNATURE_HEADER) if self.secrets else None
        if signature is not None:
            try:
                verify(body, signature, self.secrets, now_s=now_s, tolerance_s=self.tolerance_s)
            except SignatureError as error:
                refusal = AuthenticationError(f"signature_{error.reason}", str(error))
            else:
                return "signature"
        authorization = headers.get("Authorization") if self.token else None
        if authorization is not None:
            if self._is_token(authorization):
                return "token"
            refusal = refusal or AuthenticationError(
                "token_wrong", "The bearer token is not the one set here."
            )
        if refusal is not None:
            raise refusal
        if self.allow_unsigned:
            return "unsigned"
        raise AuthenticationError("missing", f"The request carries no proof of its sender: {self._wanted()}.")

    def describe(self) -> str:
        """The policy in a few words, nothing secret."""
        proofs = [
            word for word, is_set in (("signature", self.secrets), ("bearer token", self.token)) if is_set
        ]
        if not self.allow_unsigned:
            return "authenticates by " + " or ".join(proofs)
        return f"accepts unsigned events from anybody{', checks ' + ' or '.join(proofs) if proofs else ''}"

    def _wanted(self) -> str:
        wanted = [f"a {SIGNATURE_HEADER} header"] if self.secrets else []
        wanted += ["an Authorization header with a bearer token"] if self.token else []
        return "send " + " or ".join(wanted)

    def _is_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        is_equal = hmac.compare_digest(given, (self.token or "").encode())
        return is_equal and scheme.lower() == "bearer"
