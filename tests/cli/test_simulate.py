"""`simulate` as typed: what it serves can be asked, and a receiver that is not there or refuses is named."""

import os
import signal
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from dotenv import dotenv_values
from support.command import Run
from support.data_folder import DataFolder
from support.deadline import HANG_S
from support.receiver import SECRET, ReceiverProcess


def test_without_a_receiver_it_says_so_at_once(run: Run) -> None:
    """Nothing listens on port 9. It does not try each of its deliveries eight times."""
    done = run("simulate", "--url", "http://127.0.0.1:9/webhooks/verbex")
    assert (done.returncode, done.stdout) == (1, "")
    assert "No receiver answers there" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("path", "words"), [("", "VERBEX_WEBHOOK_SECRETS"), ("/elsewhere", "the path")])
def test_a_receiver_that_refuses_everything_is_named_with_the_reason(
    path: str, words: str, run: Run, tmp_path: Path
) -> None:
    """A secret that it does not have, or a wrong path."""
    with ReceiverProcess(tmp_path / "data", WEBHOOK_SECRETS=SECRET, ALLOW_UNSIGNED="false") as receiver:
        done = run("simulate", "--calls", "30", "--url", f"{receiver.url}{path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_an_api_port_that_is_taken_is_named_with_what_to_do(run: Run) -> None:
    """Before anything is sent."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("simulate", "--url", "http://127.0.0.1:9/webhooks/verbex", "--api-port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{port} can't be listened on" in done.stderr
    assert "--api-port" in done.stderr


def test_each_delivery_is_sent_once(run: Run, tmp_path: Path) -> None:
    """Also the first, by which it sees whether the receiver is there."""
    with ReceiverProcess(tmp_path / "received") as receiver:
        words = ("simulate", "--calls", "10", "--duplicates", "0", "--url", receiver.url)
        done = run(*words)
        assert receiver.stop() == 0
    folder = DataFolder(tmp_path / "received")
    folder.sync()
    ((stored, distinct),) = folder.rows("select sum(deliveries)::bigint, count(*) from events")
    assert stored == distinct
    assert done.stdout == (f"{stored} of {stored} deliveries acknowledged: {distinct} events of 10 calls.\n")


def test_what_it_prints_goes_into_the_env_file(run: Run, tmp_path: Path) -> None:
    """With these two lines, the other commands ask the API that it serves. It ends with 0 on Ctrl-C."""
    with ReceiverProcess(tmp_path / "received") as receiver:
        command = [sys.executable, "-m", "pipelines.cli", "simulate", "--calls", "3", "--api-port", "0"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("VERBEX_")}
        process = subprocess.Popen(
            [*command, "--url", receiver.url],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout
            lines = iter(process.stdout.readline, "")
            variables = [line for line in islice(lines, 4) if line.startswith("VERBEX_")]
            (tmp_path / ".env").write_text("".join(variables))
            assert set(dotenv_values(tmp_path / ".env")) == {"VERBEX_API_URL", "VERBEX_API_KEY"}
            listed = run("subscriptions")
            assert listed.returncode == 0, listed.stderr
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=HANG_S)
        finally:
            process.kill()
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
