"""The questions in `sql/questions/`: their numbers are those of a simulated account, by `support.answers`.

They are asked by the command, of tables whose days are cut in three time zones, and by DuckDB alone.
"""

import asyncio
import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.answers import DELIVERIES, EXPECTED, WORLD, Rows
from support.data_folder import DataFolder, settings_for

from connector.simulator.api import ApiServer
from pipelines.cli import main
from pipelines.enrichment.fetch import fetch_all
from pipelines.models.load import load_questions
from pipelines.models.sql_file import sql_folder

pytestmark = pytest.mark.xdist_group("questions")  # one process makes the tables, once for each zone

QUESTIONS = {question.name: question for question in load_questions(sql_folder())}
ZONES = ("UTC", "Asia/Tokyo", "America/New_York")

ASK = """
import json, sys
import duckdb
asked = json.load(sys.stdin)
answers = {}
for zone, path in asked["paths"].items():
    connection = duckdb.connect(path, read_only=True)
    found = {name: connection.sql(sql) for name, sql in asked["questions"].items()}
    answers[zone] = {
        name: {"columns": each.columns, "types": list(map(str, each.types)), "rows": each.fetchall()}
        for name, each in found.items()
    }
print(json.dumps(answers, default=str))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataFolder]:
    """The tables in every zone, all made from one landing, with all that the API says."""
    made = {zone: tmp_path_factory.mktemp("questions") for zone in ZONES}
    landing = str(made["UTC"] / "landing")
    folders = {zone: DataFolder(path, landing, time_zone=zone) for zone, path in made.items()}
    first, *others = folders.values()
    first.land([sent.body for sent in DELIVERIES], received_at_us=[sent.received_us for sent in DELIVERIES])
    first.sync()
    asyncio.run(fetch(first))
    for folder in (first, *others):
        folder.sync()
    return folders


async def fetch(folder: DataFolder) -> None:
    async with ApiServer(WORLD) as api:
        await asyncio.to_thread(fetch_all, settings_for(folder, api), folder)


@pytest.fixture(scope="module")
def answers(folders: dict[str, DataFolder]) -> dict[str, dict[str, Any]]:
    """What DuckDB says to an analyst who types the SQL of a question, on a machine in none of the zones."""
    paths = {zone: str(folder.warehouse.published) for zone, folder in folders.items()}
    asked = {"paths": paths, "questions": {name: question.sql for name, question in QUESTIONS.items()}}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps(asked),
        env=os.environ | {"TZ": "Pacific/Chatham"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_is_answered_with_the_truth(
    answers: dict[str, dict[str, Any]], name: str, zone: str
) -> None:
    """Shares, means and sums are equal to twelve digits."""
    assert_equal(answers[zone][name]["rows"], EXPECTED[name](zone))


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_header_has_the_columns_of_the_answer(answers: dict[str, dict[str, Any]], name: str) -> None:
    """With their types."""
    answer = answers["UTC"][name]
    columns = QUESTIONS[name].columns
    assert answer["columns"] == [column.name for column in columns]
    types = [kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ").lower() for kind in answer["types"]]
    assert types == [column.type for column in columns]


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_command_answers_with_the_truth(
    folders: dict[str, DataFolder], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With times in the zone of the settings, which has an hour twice in these days."""
    zone = "America/New_York"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VERBEX_DATA_DIR", str(folders[zone].path))
    monkeypatch.setenv("VERBEX_TIME_ZONE", zone)
    done = CliRunner().invoke(main, ["query", "--question", name, "--format", "json"])
    assert done.exit_code == 0, done.output
    assert_equal([list(json.loads(line).values()) for line in done.stdout.splitlines()], EXPECTED[name](zone))


def assert_equal(rows: list[list[Any]], expected: Rows) -> None:
    """Compare rows as JSON holds them, in which times are text."""
    assert expected
    assert len(rows) == len(expected)
    for row, truth in zip(rows, expected, strict=True):
        for cell, true in zip(row, truth, strict=True):
            if isinstance(true, datetime):
                assert datetime.fromisoformat(cell) == true
            else:
                assert cell == pytest.approx(true, rel=1e-12)
