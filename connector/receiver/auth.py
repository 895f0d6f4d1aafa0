"""The rules for who may deliver: by signature, by bearer token, or any sender if the settings allow it.

The policy belongs here: without a valid proof it refuses, unless unsigned events are allowed. See
`connector.verbex.signature` for how a signature is made.
"""

import hmac
from dataclasses import dataclass, field

from multidict import MultiMapping

from connector.landing.zones import VerifiedBy
from connector.settings import Settings, SettingsError
from connector.verbex.signature import SIGNATURE_HEADER, SignatureError, verify


class AuthenticationError(Exception):
    """A request without a proof of its sender, or with a wrong one. `reason` is a short word for metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Authenticator:
    """The proofs that allow a request to deliver. Any one of the configured proofs is enough."""

    secrets: tuple[str, ...] = field(repr=False)
    token: str | None = field(repr=False)
    allow_unsigned: bool
    tolerance_s: float

    @classmethod
    def from_settings(cls, settings: Settings) -> "Authenticator":
        """Return the policy that the settings describe.

        Raises:
            SettingsError: They name no proof and do not allow unsigned events.
        """
        if not (settings.webhook_secrets or settings.webhook_token or settings.allow_unsigned):
            raise SettingsError(
                "The receiver would accept no sender, because no proof is configured. Set "
                "VERBEX_WEBHOOK_SECRETS to the signing secret that Verbex shows for the webhook, or "
                "VERBEX_WEBHOOK_TOKEN to the bearer token that your subscription sends. To accept events "
                "from any sender, set VERBEX_ALLOW_UNSIGNED=true."
            )
        return cls(
            secrets=tuple(secret.get_secret_value() for secret in settings.webhook_secrets),
            token=settings.webhook_token.get_secret_value() if settings.webhook_token else None,
            allow_unsigned=settings.allow_unsigned,
            tolerance_s=settings.signature_tolerance_s,
        )

    def authenticate(self, headers: MultiMapping[str], body: bytes, *, now_s: float) -> VerifiedBy:
        """Return the kind of proof that the request carries. A wrong proof never counts as unsigned.

        Args:
            headers: The request's headers; lookups must ignore case.
            body: The raw body.
            now_s: The current time, UTC, UNIX seconds.

        Raises:
            AuthenticationError: The proof is missing or wrong. The message quotes nothing of the request.
        """
        refusal: AuthenticationError | None = None
        signatures = headers.getall(SIGNATURE_HEADER, []) if self.secrets else []
        if signatures:
            # HTTP lets a proxy split a list over several lines, and some send a line twice.
            signature = ",".join(dict.fromkeys(signatures))
            try:
                verify(body, signature, self.secrets, now_s=now_s, tolerance_s=self.tolerance_s)
            except SignatureError as error:
                refusal = AuthenticationError(f"signature_{error.reason}", str(error))
            else:
                return "signature"
        authorizations = headers.getall("Authorization", []) if self.token else []
        if authorizations:
            if any(map(self._is_token, authorizations)):
                return "token"
            refusal = refusal or AuthenticationError(
                "token_wrong", "The bearer token is wrong. Send the token that this receiver is set up with."
            )
        if refusal is not None:
            raise refusal
        if self.allow_unsigned:
            return "unsigned"
        raise AuthenticationError("missing", f"The request has no proof of its sender. {self._wanted()}.")

    def describe(self) -> str:
        """Describe the policy in a few words, without secrets."""
        proofs = [
            word for word, is_set in (("signature", self.secrets), ("bearer token", self.token)) if is_set
        ]
        if not self.allow_unsigned:
            return "authenticates by " + " or ".join(proofs)
        return f"accepts unsigned events from any sender{', checks ' + ' or '.join(proofs) if proofs else ''}"

    def _wanted(self) -> str:
        wanted = [f"an {SIGNATURE_HEADER} header"] if self.secrets else []
        wanted += ["an Authorization header with a bearer token"] if self.token else []
        return "Send " + " or ".join(wanted)

    def _is_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "surrogateescape")
        is_equal = hmac.compare_digest(given, (self.token or "").encode())
        return is_equal and scheme.lower() == "bearer"
