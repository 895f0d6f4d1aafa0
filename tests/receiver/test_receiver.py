"""The receiver over a real socket: who may deliver, what is stored, and the answer to each sender."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from support.receiver import SECRET, SEED_BODIES, Serving, connected, make_body, serving

from connector.receiver.auth import Authenticator
from connector.receiver.handler import WEBHOOK_PATH
from connector.receiver.peers import LOOPBACK, PeerPolicy
from connector.receiver.redaction import Redactor
from connector.settings import Settings, SettingsError
from connector.verbex.signature import SIGNATURE_HEADER, sign

NOW_S = 1_762_689_600
JSON = {"Content-Type": "application/json"}
TOKEN = "a bearer token"


class Running:
    """A receiver on a free port, a client for it, and the rows that it stored."""

    def __init__(self, serving: Serving, client: aiohttp.ClientSession) -> None:
        self.stored = serving.stored
        self._client = client

    async def post(self, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        """Deliver, and return status and document. Underscores in header names become hyphens."""
        given = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._client.post(WEBHOOK_PATH, data=body, headers=given) as response:
            return response.status, await response.json(content_type=None)

    async def request(self, method: str, path: str, **options: Any) -> aiohttp.ClientResponse:  # noqa: ANN401
        """Send any other request, and read its body."""
        response = await self._client.request(method, path, **options)
        await response.read()
        return response


@asynccontextmanager
async def running(folder: Path, **settings: Any) -> AsyncIterator[Running]:  # noqa: ANN401
    """Start a receiver with these settings at a fixed time of day, and a client."""
    given = Settings(_env_file=None, **settings)
    authenticator, redactor = Authenticator.from_settings(given), Redactor.from_settings(given)
    async with (
        serving(folder, authenticator=authenticator, redactor=redactor) as served,
        aiohttp.ClientSession(served.url.removesuffix(WEBHOOK_PATH)) as client,
    ):
        yield Running(served, client)


@pytest.fixture
async def unsigned(tmp_path: Path) -> AsyncIterator[Running]:
    """Start a receiver that accepts events from any sender."""
    async with running(tmp_path, allow_unsigned=True) as receiver:
        yield receiver


@pytest.fixture
async def signed(tmp_path: Path) -> AsyncIterator[Running]:
    """Start a receiver that requires a signature or a token."""
    async with running(
        tmp_path, webhook_secrets=(SecretStr("old"), SecretStr(SECRET)), webhook_token=SecretStr(TOKEN)
    ) as receiver:
        yield receiver


@pytest.mark.parametrize("name", SEED_BODIES)
async def test_a_documented_event_is_stored_byte_for_byte_and_answered(unsigned: Running, name: str) -> None:
    """Verbex's own examples get 200 with the trace id, and exactly their bytes are stored."""
    body = SEED_BODIES[name]
    status, answer = await unsigned.post(
        body,
        User_Agent="ReactorNetty/1.1.13",
        X_Webhook_Event="CallHandler.CallEnded",
        X_Webhook_Traceid="94c950a0-1694-4b7c-9891-9364c261e4e1",
        X_Webhook_Timestamp="2025-11-10T01:01:14.552985018Z",
    )
    (row,) = unsigned.stored()
    assert (status, answer) == (200, {"traceId": row["trace_id"]})
    assert (row["body"], row["problem"], row["verified_by"]) == (body, None, "unsigned")
    assert row["received_at"].timestamp() == NOW_S
    assert dict(row["headers"]) == {
        "content-type": "application/json",
        "user-agent": "ReactorNetty/1.1.13",
        "x-webhook-event": "CallHandler.CallEnded",
        "x-webhook-traceid": "94c950a0-1694-4b7c-9891-9364c261e4e1",
        "x-webhook-timestamp": "2025-11-10T01:01:14.552985018Z",
    }


async def test_an_event_is_stored_before_it_is_acknowledged(unsigned: Running) -> None:
    """When the answer arrives, the bytes are already in a file."""
    for number in range(20):
        await unsigned.post(make_body(f"trace-{number}"))
        assert unsigned.stored()[-1]["trace_id"] == f"trace-{number}"


async def test_a_body_that_is_no_event_is_stored_with_its_problem(unsigned: Running) -> None:
    """The answer says what is wrong and that the body was stored. The row has the same sentence."""
    status, answer = await unsigned.post(b'{"traceId": "a", "eventName": 5}')
    (row,) = unsigned.stored()
    assert status == 400
    assert answer["detail"] == row["problem"]
    assert (answer["stored"], answer["traceId"], row["trace_id"]) == (True, "a", "a")


@pytest.mark.parametrize("secret", ["old", SECRET])
async def test_a_signature_by_any_of_the_secrets_is_accepted(signed: Running, secret: str) -> None:
    """During a rotation both secrets are valid."""
    body = make_body()
    status, _ = await signed.post(body, **{SIGNATURE_HEADER: sign(body, [secret], signed_at_s=NOW_S)})
    assert status == 200
    assert signed.stored()[0]["verified_by"] == "signature"


async def test_a_bearer_token_is_accepted(signed: Running) -> None:
    """The token is enough, even together with a wrong signature."""
    for headers in ({}, {SIGNATURE_HEADER: "t=1,v1=00"}):
        status, _ = await signed.post(make_body(), Authorization=f"bearer {TOKEN}", **headers)
        assert status == 200
    assert [row["verified_by"] for row in signed.stored()] == ["token", "token"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer \udcff\udcfe"},
        {SIGNATURE_HEADER: "t=1,v1=00"},
        {SIGNATURE_HEADER: "\udcff"},
        {SIGNATURE_HEADER: ""},
        {SIGNATURE_HEADER: sign(b"another body", [SECRET], signed_at_s=NOW_S)},
    ],
)
async def test_without_a_proof_nothing_is_stored(signed: Running, headers: dict[str, str]) -> None:
    """The answer is 401 with a sentence, and nothing of the request is stored."""
    status, answer = await signed.post(make_body(), **headers)
    assert (status, answer["title"]) == (401, "Unauthorized")
    assert signed.stored() == []


async def test_a_wrong_proof_does_not_count_as_unsigned(tmp_path: Path) -> None:
    """If unsigned events are allowed, an event with a wrong proof is still refused."""
    secrets, token = (SecretStr(SECRET),), SecretStr(TOKEN)
    async with running(
        tmp_path, webhook_secrets=secrets, webhook_token=token, allow_unsigned=True
    ) as receiver:
        assert (await receiver.post(make_body(), **{SIGNATURE_HEADER: "t=1,v1=00"}))[0] == 401
        assert (await receiver.post(make_body(), Authorization="Bearer wrong"))[0] == 401
        assert (await receiver.post(make_body()))[0] == 200


@pytest.mark.parametrize("settings", [{}, {"webhook_token": "  "}, {"webhook_secrets": ""}])
def test_a_receiver_that_would_accept_no_sender_does_not_start(settings: dict[str, Any]) -> None:
    """The error names the settings to choose from."""
    with pytest.raises(SettingsError) as caught:
        Authenticator.from_settings(Settings(_env_file=None, **settings))
    for name in ("VERBEX_WEBHOOK_SECRETS", "VERBEX_WEBHOOK_TOKEN", "VERBEX_ALLOW_UNSIGNED"):
        assert name in str(caught.value)


def test_secrets_do_not_print() -> None:
    """Neither the policy nor its description shows a secret."""
    policy = Authenticator((SECRET,), TOKEN, allow_unsigned=False, tolerance_s=1)
    assert SECRET not in repr(policy) + policy.describe()
    assert TOKEN not in repr(policy) + policy.describe()


async def test_headers_that_could_be_credentials_are_not_stored(signed: Running) -> None:
    """A subscription's own headers can carry anything, so only known headers are stored."""
    body = make_body()
    await signed.post(
        body,
        **{SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=NOW_S)},
        Authorization="Bearer wrong",
        X_Api_Key="key",
        Cookie="session",
        X_Webhook_Token="key",
        X_Webhook_Authorization="key",
        X_Webhook_Secret="key",
        X_Webhook_Event_Key="key",
        X_Webhook_Event="kept",
    )
    names = {name for name, _ in signed.stored()[0]["headers"]}
    assert names == {"content-type", "user-agent", "x-webhook-event"}


@pytest.mark.parametrize("secret", ["whsec_abc/def+12=", 'a "key" \u00e9', "hush-api-key"])
@pytest.mark.parametrize("write", [json.dumps, lambda text: json.dumps(text).replace("/", r"\/")])
async def test_our_own_secrets_are_cut_out_of_what_is_stored(
    tmp_path: Path, secret: str, write: Callable[[str], str]
) -> None:
    """In bodies and headers, in every form that JSON gives them. The signature is of the body as it came."""
    settings = {"webhook_secrets": (SecretStr(SECRET), SecretStr(secret)), "api_key": SecretStr(secret)}
    async with running(tmp_path, **settings) as receiver:
        body = make_body("a")[:-1] + f', "note": {write(f"see {secret} and {SECRET}!")}}}'.encode()
        headers = {SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=NOW_S)}
        assert (await receiver.post(body, User_Agent=f"agent {secret}", **headers))[0] == 200
        (row,) = receiver.stored()
    event = json.loads(row["body"])
    assert event["note"] == "see [secret removed] and [secret removed]!"
    assert {name: value for name, value in event.items() if name != "note"} == json.loads(make_body("a"))
    assert dict(row["headers"])["user-agent"] == "agent [secret removed]"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "",
        "json",
        "\udcff",
    ],
)
async def test_an_event_is_stored_whatever_its_content_type_is(signed: Running, content_type: str) -> None:
    """The body says what it is. A header that a proxy changed is no reason to lose an event."""
    body = make_body()
    headers = {SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=NOW_S)}
    assert (await signed.post(body, Content_Type=content_type, **headers))[0] == 200
    assert [row["body"] for row in signed.stored()] == [body]


@pytest.mark.parametrize(
    "path", ["/webhooks/verbex/", "//webhooks//verbex", "/webhooks/verbex//?a=b", "/webhooks/%76erbex/"]
)
async def test_slashes_too_many_in_the_path_are_no_reason_to_lose_an_event(tmp_path: Path, path: str) -> None:
    """People add them when they type the URL, and proxies when they put it together."""
    body = make_body("a")
    async with serving(tmp_path) as served, connected(served.url) as (reader, writer):
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        assert b" 200 " in await reader.readline()
        assert [row["trace_id"] for row in served.stored()] == ["a"]


@pytest.mark.parametrize(
    "lines",
    [
        ["X-Webhook-Signature: {t},{v1}"],
        ["X-Webhook-Signature: {t} , {v1}"],
        ["X-Webhook-Signature: {t}", "X-Webhook-Signature: {v1}"],
        ["x-webhook-signature: {t},v1=00", "X-WEBHOOK-SIGNATURE: {v1}"],
        ["X-Webhook-Signature: {t},{v1}", "X-Webhook-Signature: {t},{v1}"],
    ],
)
async def test_a_signature_that_a_proxy_split_over_lines_is_right(tmp_path: Path, lines: list[str]) -> None:
    """HTTP allows a list over several headers."""
    body = make_body()
    stamp, digest = sign(body, [SECRET], signed_at_s=NOW_S).split(",")
    head = "\r\n".join(["POST /webhooks/verbex HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *lines])
    given = Settings(_env_file=None, webhook_secrets=(SecretStr(SECRET),))
    authenticator = Authenticator.from_settings(given)
    async with (
        serving(tmp_path, authenticator=authenticator) as served,
        connected(served.url) as (reader, writer),
    ):
        writer.write(head.format(t=stamp, v1=digest).encode() + b"\r\n\r\n" + body)
        assert b" 200 " in await reader.readline()
        assert [row["verified_by"] for row in served.stored()] == ["signature"]


async def test_a_receiver_that_refuses_everything_says_so(
    signed: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """In a metric and in one line, not one for each. A delivery that is accepted ends it."""
    body = make_body()
    for _ in range(30):
        await signed.post(body, **{SIGNATURE_HEADER: sign(body, ["another secret"], signed_at_s=NOW_S)})
    text = await (await signed.request("GET", "/metrics")).text()
    assert "verbex_refusals_in_a_row 30.0" in text
    assert [vars(record)["refused_in_a_row"] for record in caplog.records if record.levelname == "ERROR"] == [
        10
    ]
    await signed.post(body, **{SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=NOW_S)})
    assert "verbex_refusals_in_a_row 0.0" in await (await signed.request("GET", "/metrics")).text()


async def test_one_genuine_signature_is_enough_to_see_a_wrong_clock(
    signed: Running, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the sender with the secret can make it."""
    body = make_body()
    await signed.post(body, **{SIGNATURE_HEADER: sign(body, [SECRET], signed_at_s=NOW_S - 10_000_000)})
    assert "clock" in caplog.text


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 200), ({"X-Forwarded-For": "192.0.2.1"}, 404), ({"Forwarded": "for=a"}, 404)]
)
async def test_metrics_are_for_this_machine_only(
    unsigned: Running, headers: dict[str, str], status: int
) -> None:
    """A proxy on this machine that forwards every path does not show them to the internet."""
    assert (await unsigned.request("GET", "/metrics", headers=headers)).status == status
    assert (await unsigned.request("GET", "/readyz", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="asked here"),
        pytest.param({"X-Forwarded-For": "192.0.2.1"}, 404, id="by a proxy that is not named"),
        pytest.param({"X-Forwarded-For": "127.0.0.1"}, 404, id="by one, from an address like ours"),
        pytest.param({"Forwarded": "for=192.0.2.1"}, 404, id="by one that uses another header"),
    ],
)
async def test_naming_one_proxy_shows_metrics_through_no_other(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """The load balancer is named, and the proxy beside the receiver is not."""
    ops = PeerPolicy(LOOPBACK.allowed, (ip_network("10.0.0.0/8"),))
    async with serving(tmp_path, ops=ops) as served, aiohttp.ClientSession() as client:
        answer = await client.get(served.url.replace(WEBHOOK_PATH, "/metrics"), headers=headers)
        assert answer.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"X-Forwarded-For": "10.0.0.1"}, 200, id="for a machine that may"),
        pytest.param({"X-Forwarded-For": "10.0.0.1", "Forwarded": "for=10.0.0.1"}, 200, id="in both headers"),
        pytest.param({"X-Forwarded-For": "192.0.2.1"}, 404, id="for one that may not"),
        pytest.param({"X-Forwarded-For": "192.0.2.1, 10.0.0.1"}, 404, id="for a proxy that is not named"),
        pytest.param({"Forwarded": "for=192.0.2.1"}, 404, id="for one that only the other header names"),
    ],
)
async def test_a_named_proxy_shows_metrics_to_those_who_may(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    """Those in `VERBEX_OPS_NETWORKS`, and nobody who comes through them from somewhere else."""
    here = ip_network("127.0.0.0/8")
    ops = PeerPolicy((here, ip_network("10.0.0.0/8")), (here,))
    async with serving(tmp_path, ops=ops) as served, aiohttp.ClientSession() as client:
        answer = await client.get(served.url.replace(WEBHOOK_PATH, "/metrics"), headers=headers)
        assert answer.status == status


async def test_metrics_are_shown_to_the_networks_that_are_named(tmp_path: Path) -> None:
    """Others get the answer of a path that is not there."""
    for network, status in (("192.0.2.0/24", 404), ("127.0.0.0/8", 200)):
        ops = PeerPolicy((ip_network(network),))
        async with serving(tmp_path, ops=ops) as served, aiohttp.ClientSession() as client:
            assert (await client.get(served.url.replace(WEBHOOK_PATH, "/metrics"))).status == status


@pytest.mark.parametrize("path", ["/healthz", "/metrics", "/", WEBHOOK_PATH])
async def test_no_answer_names_a_version(unsigned: Running, path: str) -> None:
    """Versions tell an attacker which weakness to try."""
    response = await unsigned.request("GET", path)
    assert "ython" not in str(response.headers) + await response.text()
    assert "aiohttp" not in str(response.headers) + await response.text()


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(unsigned: Running, is_chunked: bool) -> None:
    """With or without a length it gets 413 and is not stored. A body of exactly the limit is accepted."""

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    fits = make_body("a", padding="")
    fits = make_body("a", padding="x" * (10_000 - len(fits)))
    for body, status in ((fits, 200), (fits + b" ", 413)):
        data = chunks(body) if is_chunked else body
        response = await unsigned.request("POST", WEBHOOK_PATH, data=data, headers=JSON)
        assert response.status == status
    assert [row["body"] for row in unsigned.stored()] == [fits]


async def test_a_journal_that_cannot_store_is_a_503_until_it_can(unsigned: Running, tmp_path: Path) -> None:
    """It answers 503 with Retry-After and is not ready, then works again without a restart."""
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-away")
    tmp_path.rename(elsewhere)
    response = await unsigned.request("POST", WEBHOOK_PATH, data=make_body(), headers=JSON)
    assert (response.status, response.headers["Retry-After"]) == (503, "5")
    assert (await unsigned.request("GET", "/readyz")).status == 503
    assert (await unsigned.request("GET", "/healthz")).status == 200
    elsewhere.rename(tmp_path)
    assert (await unsigned.request("GET", "/readyz")).status == 200
    assert (await unsigned.post(make_body()))[0] == 200
    assert len(unsigned.stored()) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("POST", "/healthz", 405),
        ("GET", WEBHOOK_PATH, 405),
        ("PUT", WEBHOOK_PATH, 405),
        ("GET", "/", 404),
        ("POST", f"{WEBHOOK_PATH}/more", 404),
    ],
)
async def test_every_other_path_and_method_has_an_answer(
    unsigned: Running, method: str, path: str, status: int
) -> None:
    """Health checks get 200, a wrong path 404, and a wrong method 405."""
    assert (await unsigned.request(method, path)).status == status


async def test_metrics_count_what_was_stored_and_refused(signed: Running) -> None:
    """Stored deliveries are counted by how they were verified, refused ones by reason."""
    await signed.post(make_body(), Authorization=f"Bearer {TOKEN}")
    await signed.post(b"no event", Authorization=f"Bearer {TOKEN}")
    await signed.post(make_body())
    text = await (await signed.request("GET", "/metrics")).text()
    assert 'verbex_deliveries_stored_total{is_event="true",verified_by="token"} 1.0' in text
    assert 'verbex_deliveries_stored_total{is_event="false",verified_by="token"} 1.0' in text
    assert 'verbex_deliveries_refused_total{reason="missing"} 1.0' in text


async def test_a_sender_that_waits_for_permission_to_send_gets_it(unsigned: Running) -> None:
    """`Expect: 100-continue` is answered before the body comes."""
    response = await unsigned.request("POST", WEBHOOK_PATH, data=make_body(), headers=JSON, expect100=True)
    assert response.status == 200


async def test_many_senders_at_once_are_all_stored(unsigned: Running) -> None:
    """Two hundred concurrent deliveries are each stored once."""
    answers = await asyncio.gather(*(unsigned.post(make_body(f"t{number}")) for number in range(200)))
    assert {status for status, _ in answers} == {200}
    assert sorted(row["trace_id"] for row in unsigned.stored()) == sorted(
        f"t{number}" for number in range(200)
    )
