"""The receiver as a command: it checks the settings, then runs one worker, or a supervisor of several.

The printed line and the exit codes belong here. See `connector.receiver.worker` for the process itself.
"""

import signal
import sys

from connector.errors import EXIT_USAGE, OperatorError
from connector.receiver.auth import Authenticator
from connector.receiver.supervisor import supervise
from connector.receiver.tls import load_certificate
from connector.receiver.worker import EXIT_FAILED, STOP_SIGNALS, Role, complain, run_worker
from connector.settings import Settings, SettingsError, load_settings


def serve(settings: Settings) -> int:
    """Receive until SIGTERM or SIGINT, then drain, seal and return.

    It prints one line on standard output once it listens. Everything else is a log line on standard error.

    Returns:
        The exit code: 0 after a stop signal, 1 if the journal or the port is in use, 2 if the settings accept
        no sender or contradict each other.
    """
    # A stop signal from now on is answered in order, once there is something to stop.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        line = f"{Authenticator.from_settings(settings).describe()}, {_describe_storage(settings)}"
        load_certificate(settings)
        if settings.workers > 1:
            return supervise(settings, lambda url: _say(f"listening on {url}, {line}"))
        return run_worker(settings, Role(0, 1, lambda url: _say(f"listening on {url}, {line}")))
    except SettingsError as error:
        return complain(error, EXIT_USAGE)
    except (OperatorError, OSError) as error:  # the workers' port is in use, or their folder can't be used
        return complain(error, EXIT_FAILED)


def _describe_storage(settings: Settings) -> str:
    elsewhere = f", lands in {settings.landing_url}" if settings.landing_url else ""
    return f"stores in {settings.data_dir}{elsewhere}"


def _say(text: str) -> None:
    sys.stdout.write(f"verbex-sync: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(serve(load_settings()))
