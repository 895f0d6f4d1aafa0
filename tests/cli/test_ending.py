"""How commands end: in words and with an exit code, whatever stops them and wherever they print."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.command import Run, inherited, typing_in
from support.data_folder import DataFolder, body
from support.deadline import HANG_S
from support.disk import mounted
from support.oracle import STARTED

from connector.system.lock import is_held

WRITERS = {
    "demo": ("demo", "--calls", "2"),
    "sync": ("sync",),
    "verify": ("verify",),
    "backfill": ("backfill", "--since", "2025-11-10", "--until", "2025-11-10"),
    "ask-again": ("ask-again",),
    "ui": ("ui", "--port", "0"),
    "serve": ("serve", "--port", "0"),
}
READERS = {
    "status": ("status",),
    "query": ("query", "select 1"),
    "verify --rebuild": ("verify", "--rebuild"),
}
OTHERS = {
    "simulate": ("simulate", "--calls", "2"),
    "subscriptions": ("subscriptions",),
    "subscribe": ("subscribe", "--url", "https://hooks.example.com/"),
}
# Nothing listens on port 9.
ASKING = {
    "VERBEX_API_KEY": "key",
    "VERBEX_API_URL": "http://127.0.0.1:9",
    "VERBEX_ALLOW_UNSIGNED": "true",
    "VERBEX_PORT": "9",
}
# A signal to a process that has printed the first word meets our code, and not the start of Python.
BEGUN = """
from pipelines.cli import main
from pipelines.cli.ending import ended_in_words
with ended_in_words():
    print("begun", flush=True)
    main(prog_name="verbex-sync")
"""

each_writer = pytest.mark.parametrize("words", WRITERS.values(), ids=WRITERS)
each_command = pytest.mark.parametrize(
    "words", [*WRITERS.values(), *READERS.values(), *OTHERS.values()], ids=[*WRITERS, *READERS, *OTHERS]
)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """A published warehouse, made once."""
    made = DataFolder(tmp_path_factory.mktemp("published") / "data")
    made.sync()
    return made


@contextlib.contextmanager
def started(
    folder: Path, *words: str, settings: dict[str, str] = ASKING
) -> Iterator["subprocess.Popen[str]"]:
    """Start a command in a process, and yield once it has begun. It is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGUN, *words],
        cwd=folder,
        env=inherited() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def assert_in_words(done: "subprocess.CompletedProcess[str]", *codes: int) -> None:
    assert done.returncode in codes, done.stderr
    assert done.stderr.strip()
    for sign in ("Traceback", 'File "', "Stack Trace", "[Errno"):
        assert sign not in done.stderr, done.stderr


@each_writer
def test_a_data_folder_that_can_not_be_written_is_named_once(
    words: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """One sentence with the folder and the next step, and not a stack for each step that needs it."""
    with mounted(tmp_path / "data", "ro,size=1m"):
        done = run(*words, **ASKING)
    if words[0] == "serve":  # the receiver's own words
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        return
    assert_in_words(done, 1)
    assert done.stderr.count("data can't be written") == 1, done.stderr


@each_writer
def test_a_file_in_the_place_of_the_data_folder_is_named_once(
    words: tuple[str, ...], run: Run, tmp_path: Path
) -> None:
    """One sentence with the file and the next step."""
    (tmp_path / "data").write_text("not a folder")
    done = run(*words, **ASKING)
    assert_in_words(done, 1)
    assert done.stderr.count(str(tmp_path / "data")) == 1, done.stderr
    assert (tmp_path / "data").read_text() == "not a folder"


@each_command
def test_wrong_settings_stop_every_command_in_words(words: tuple[str, ...], run: Run) -> None:
    """All of them are named, and the exit code is 2."""
    wrong = {"VERBEX_WORKERS": "abc", "VERBEX_API_RPS": "-1", "VERBEX_API_URL": "http://exa mple:99999"}
    done = run(*words, **wrong)
    assert_in_words(done, 2)
    for name in wrong:
        assert name in done.stderr


@pytest.mark.parametrize("name", ["serve", "sync", "query"])
def test_an_env_file_that_is_a_folder_stops_a_command_in_words(name: str, run: Run, tmp_path: Path) -> None:
    """A mount of a file that is not there makes a folder."""
    (tmp_path / ".env").mkdir()
    done = run(*(WRITERS | READERS)[name])
    assert_in_words(done, 2)
    assert ".env" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("name", ["query", "sync", "serve"])
def test_another_users_files_are_named(name: str, tmp_path: Path) -> None:
    """A service may run as a user who may read neither the data nor `.env`."""
    folder = tmp_path / "shared"
    folder.mkdir()
    for above in (folder, *folder.parents[:3]):
        above.chmod(0o755)
    (folder / "data").mkdir(mode=0o700)
    command = [sys.executable, "-m", "pipelines.cli", *(WRITERS | READERS)[name]]
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def run_as_nobody() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*as_nobody, *command],
            cwd=folder,
            env=inherited() | ASKING,
            capture_output=True,
            text=True,
            check=False,
        )

    denied = run_as_nobody()
    if "ModuleNotFoundError" in denied.stderr:
        pytest.skip("another user can't read this checkout")
    assert_in_words(denied, 1)
    assert str(folder / "data") in denied.stderr
    (folder / ".env").touch(mode=0o600)
    denied = run_as_nobody()
    assert_in_words(denied, 2)
    assert ".env can't be read" in denied.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_moment_ends_any_command_without_a_trace(
    number: signal.Signals, tmp_path: Path
) -> None:
    """While Python imports, while Dagster loads, and while it works."""

    def stop_after(words: tuple[str, ...], wait_s: float) -> tuple[tuple[str, ...], int, str]:
        folder = tmp_path / f"{words[0]}-{len(words)}-{wait_s}"
        folder.mkdir()
        with started(folder, *words) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=60)
            return words, process.returncode, stderr

    commands = [(WRITERS | READERS)[name] for name in ("sync", "backfill", "serve", "ui", "demo", "status")]
    moments = [(words, wait_s) for words in commands for wait_s in (0.01, 1.0)]
    with ThreadPoolExecutor(4) as pool:
        for words, code, stderr in pool.map(lambda moment: stop_after(*moment), moments):
            # Python itself ends by the signal before our first line, and after our last one.
            assert code in (0, 1, -number), (words, code, stderr)
            for sign in ("Traceback", "Exception ignored", "KeyboardInterrupt", 'File "'):
                assert sign not in stderr, (words, stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_stops_when_it_is_asked_to_and_leaves_no_receiver(
    number: signal.Signals, tmp_path: Path
) -> None:
    """In the middle of a load, which takes far longer than to stop."""
    with started(tmp_path, "demo", "--calls", "400", settings={}) as process:
        assert process.stdout
        lines = iter(process.stdout.readline, "")
        assert any("acknowledged" in line for line in lines)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Next, in this folder" not in stdout
    assert stderr.splitlines()[-1] == "Stopped."
    assert "Traceback" not in stderr
    assert not is_held(tmp_path / "data" / "journal" / "0" / "lock")  # so its receiver has ended, too


def test_a_signal_while_a_thread_begins_ends_a_demo(tmp_path: Path) -> None:
    """Whoever waits for a thread to begin must not be interrupted, or it waits for its end for ever."""
    script = """
import signal, threading, time
run = threading.Thread.run
def stop_and_run(self):
    if "portal" in self.name:
        time.sleep(0.2)  # until the main thread waits for this one
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        time.sleep(0.2)
    run(self)
threading.Thread.run = stop_and_run
from pipelines.cli import main
main()
"""
    command = [sys.executable, "-c", script, "demo", "--calls", "1"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=inherited(), capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert (ended.returncode, ended.stderr) == (1, "Stopped.\n")


@pytest.mark.parametrize(("number", "form"), [(signal.SIGINT, "csv"), (signal.SIGTERM, "table")])
def test_a_query_stops_in_the_middle_of_its_rows(
    number: signal.Signals, form: str, published: DataFolder
) -> None:
    """Also while DuckDB, which looks at no signal then, computes a row that never comes."""
    endless = "select i from range(100000000000000) t(i) where i < 3000 or hash(i) = 3"
    words = ("query", endless, "--format", form)
    with started(published.path.parent, *words, settings={}) as process:
        assert process.stdout
        if form == "csv":
            assert process.stdout.readline() == "i\n"
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode in (1, -number)
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "words",
    [
        ("query", "from range(100000)"),
        ("query", "from range(100000)", "--format", "json"),
        ("query", "from range(100000)", "--format", "csv"),
        ("status",),
        ("--help",),
    ],
)
def test_a_reader_that_leaves_ends_a_command_silently(words: tuple[str, ...], published: DataFolder) -> None:
    """As `head -1` does."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *words],
            cwd=published.path.parent,
            env=inherited(),
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(("encoding", "form"), [("ascii", "table"), ("latin-1", "json"), ("cp1252", "csv")])
def test_a_terminal_that_lacks_a_character_gets_its_number(
    encoding: str, form: str, published: DataFolder
) -> None:
    """On standard output and in errors."""
    run = typing_in(published.path.parent)
    done = run("query", "select 'あ' as x", "--format", form, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u3042" in done.stdout
    refused = run("query", "select あ", PYTHONIOENCODING=encoding)
    assert_in_words(refused, 2)


def test_a_failed_sync_has_one_line_for_each_cause(run: Run, tmp_path: Path) -> None:
    """Not one stack for each of nine steps."""
    folder = DataFolder(tmp_path / "data")
    folder.land([body("a", STARTED, "call", 0)])
    (folder.path / "warehouse").write_text("not a folder")
    done = run("sync")
    assert done.returncode == 1
    assert "Stack Trace" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "more steps" in done.stderr
