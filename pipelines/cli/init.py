"""`verbex-sync init`: a small project of a customer's own, without a checkout of verbex-sync.

What its files say at first belongs here. What they may say does not: see `connector.settings` for `.env`, and
`pipelines.models.rules` for SQL.
"""

from pathlib import Path

import click

from connector.errors import EXIT_USAGE
from connector.system.env_file import read_variable
from connector.system.files import make_file
from pipelines.cli.common import ENV_FILE
from pipelines.cli.words import fail, warn
from pipelines.models.sql_file import sql_folder

_SQL_DIR = "VERBEX_SQL_DIR"
_FILES = {
    str(ENV_FILE): f"""\
# Settings of verbex-sync, read in the folder where its commands are typed. Variables of the environment win.
# All settings: `verbex-sync --help` says where they are described. Keep this file out of version control.

# Your own marts, checks, functions and questions, beside those that come with verbex-sync.
{_SQL_DIR}=sql

# Journal, landing, tables and Dagster's records.
VERBEX_DATA_DIR=data

# To ask Verbex for analyses, details and its list of calls:
# VERBEX_API_KEY=

# To receive webhooks. `verbex-sync subscribe` writes this line itself.
# VERBEX_WEBHOOK_SECRETS=
""",
    ".gitignore": f"/{ENV_FILE}\n/data/\n",
    "workspace.yaml": """\
# For Dagster's own commands, such as `dagster dev`. `verbex-sync ui` does not need it.
load_from:
  - python_module: pipelines.definitions
""",
    "sql/marts/agent_weekly.sql": """\
-- One row per agent and week: an example of a table of your own. Change it, or remove it.
--
-- grain: agent_id, week
-- columns:
--   agent_id varchar: the AI agent
--   week date: the Monday with which the week begins
--   calls bigint: calls that began in it [count]
--   total_duration_s double: time on the phone [s]
select
    agent_id,
    date_trunc('week', day)::date as week,
    sum(calls)::bigint as calls,
    sum(total_duration_s) as total_duration_s
from agent_daily
group by agent_id, week
""",
}


@click.command(epilog="Example: verbex-sync init calls && cd calls && verbex-sync demo")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False), default=Path())
def init(folder: Path) -> None:
    """Write a small project into DIR, by default into this folder: settings, and a table of your own.

    A file that exists stays as it is.
    """
    sql = folder / "sql"
    if sql.exists() and sql.samefile(sql_folder()):
        fail("This is verbex-sync itself: put files into its sql/marts/, or name another DIR.", EXIT_USAGE)
    made = {name: _make(folder / name, text) for name, text in _FILES.items()}
    for name, is_made in made.items():
        click.echo(f"Made {folder / name}" if is_made else f"Left {folder / name} as it is")
    if read_variable(folder / ENV_FILE, _SQL_DIR) is None:
        warn(f"Add this line to {folder / ENV_FILE}, or nothing in {sql} is read: {_SQL_DIR}=sql")
    place = "this folder" if folder.samefile(Path()) else f"the folder {folder}"
    click.echo(f"Next, in {place}: `verbex-sync demo` for simulated calls, then `verbex-sync ui`.")


def _make(path: Path, text: str) -> bool:
    """Write a file that only its owner may read, unless there is something of its name. Return whether."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        make_file(path)
    except FileExistsError:
        return False
    path.write_text(text, encoding="utf-8")
    return True
