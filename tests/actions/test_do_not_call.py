"""The do-not-call list: read to the last entry, or nothing is dialled."""

from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.actions.do_not_call import DoNotCallError, is_listed, read_do_not_call
from pipelines.models.sql_file import ModelError
from pipelines.warehouse.data_folder import DataFolder

A, B, C = "+819012345678", "+442079460000", "+12125550100"
MODEL = (
    "-- Who must not be called.\n--\n-- grain: number\n-- columns:\n"
    "--   number varchar: as E.164\nselect agent_id as number from agents"
)


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    """A data folder with a customer's folder of SQL, both empty."""
    (tmp_path / "own" / "seeds").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    return DataFolder(tmp_path / "data", own_sql_dir=tmp_path / "own")


def write(folder: DataFolder, content: str | bytes, name: str = "seeds/do_not_call.csv") -> Path:
    assert folder.own_sql_dir is not None
    path = folder.own_sql_dir / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def publish(folder: DataFolder, *statements: str) -> None:
    """Make published tables by these statements."""
    with duckdb.connect(str(folder.path / "warehouse.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


def refusal(folder: DataFolder) -> str:
    with pytest.raises(DoNotCallError) as caught:
        read_do_not_call(folder)
    return str(caught.value)


def test_without_a_list_no_one_is_on_it(folder: DataFolder, tmp_path: Path) -> None:
    """Neither the folder nor the setting is required."""
    assert read_do_not_call(folder) == frozenset()
    assert read_do_not_call(DataFolder(tmp_path / "data")) == frozenset()


@pytest.mark.parametrize(
    "content",
    [
        f"number\n{A}\n{B}\n",
        f"\ufeffnumber\r\n{A}\r\n{B}",
        f'\n# Who asked us not to call.\n\nnumber\n# "since" May, "2025\n{A}\n\n{B}\n',
        f'name,"Number" ,note\n"Sato, K.", "{A}" ,"two\n# lines, ""quoted"""\n,{B},\n,,\n',
        f"name;number\nx;{A}\ny;{B}\n",
        f"number\tname\n{A}\tx\n{B}\ty\n",
        "number\n0081 90-1234-5678\n+44 (0)20 7946.0000\n",
        f"number\n{A}\n{A}\n{B}",
    ],
)
def test_a_file_is_read_as_people_write_it(folder: DataFolder, content: str) -> None:
    """With comments, quotes, other columns and delimiters, and numbers in any form with a country's code."""
    write(folder, content)
    assert read_do_not_call(folder) == {A, B}


def test_an_edit_works_at_once(folder: DataFolder) -> None:
    """Nothing is remembered between two batches of calls."""
    write(folder, "number\n")
    assert read_do_not_call(folder) == frozenset()
    write(folder, f"number\n{A}")
    assert read_do_not_call(folder) == {A}


@pytest.mark.parametrize(
    ("content", "where", "why"),
    [
        ("", "do_not_call.csv", "empty"),
        ("# number\n\n", "do_not_call.csv", "empty"),
        (f"{A}\n{B}\n", "do_not_call.csv", "`number`"),
        (f"phone\n{A}\n", "do_not_call.csv", "`number`"),
        (f"number,number\n{A},{B}\n", "do_not_call.csv", "`number`"),
        (f"number\n{A}\n090-1234-5678\n", "do_not_call.csv:3", "090-1234-5678"),
        (f"number\n# all\n{A}\n\nsome\n", "do_not_call.csv:5", "'some'"),
        (f'note,number\n"two\nlines",{A}\nx,no\n', "do_not_call.csv:4", "'no'"),
        (f"note,number\nx,{A}\ny\n", "do_not_call.csv:3", "''"),
        (f'number,note\n{A},"open\n{B},\n', "do_not_call.csv:2", "quotes"),
        (f"number\n{A}\n".encode("utf-16"), "do_not_call.csv", "UTF-8"),
        ("number,備考\n".encode("shift-jis"), "do_not_call.csv", "UTF-8"),
    ],
)
def test_a_file_that_is_not_understood_is_an_error(
    folder: DataFolder, content: str | bytes, where: str, why: str
) -> None:
    """It names the file, the line and what is wrong, and so nothing is dialled."""
    write(folder, content)
    reason = refusal(folder)
    assert f"{where}" in reason
    assert why in reason


@given(st.binary(max_size=60) | st.text("number+0123456789,;\"'# \t\n\r\0", max_size=60).map(str.encode))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """There is no third way, such as another error."""
    folder = DataFolder(tmp_path_factory.getbasetemp(), own_sql_dir=tmp_path_factory.getbasetemp() / "own")
    write(folder, content)
    with suppress(DoNotCallError):
        listed = read_do_not_call(folder)
        assert all(is_listed(number, listed) for number in listed)


def test_a_file_that_can_t_be_opened_is_an_error(folder: DataFolder) -> None:
    """A folder of its name, and a link to nothing."""
    path = write(folder, "")
    path.unlink()
    path.symlink_to("gone.csv")
    assert "can't be read" in refusal(folder)
    path.unlink()
    path.mkdir()
    assert "can't be read" in refusal(folder)


def test_a_folder_of_sql_that_is_gone_is_an_error(folder: DataFolder) -> None:
    """Its list may be gone with it."""
    gone = DataFolder(folder.path, own_sql_dir=folder.path / "gone")
    assert "VERBEX_SQL_DIR" in refusal(gone)


@pytest.mark.parametrize(
    "name",
    [
        *("do_not_call.csv", "Seeds/do_not_call.csv", "seeds/Do Not Call.CSV", "seeds/do-not-call.xlsx"),
        *("seeds/do_not_call (1).csv", "seeds/more/do_not_call.csv", "marts/do_not_call.txt"),
    ],
)
def test_a_list_that_is_not_read_is_an_error(folder: DataFolder, name: str) -> None:
    """People on it would be called."""
    path = write(folder, f"number\n{A}\n", name)
    assert str(path) in refusal(folder)


def test_other_files_are_no_list(folder: DataFolder) -> None:
    """Other seeds, and what editors leave behind."""
    for name in ("agents.csv", ".do_not_call.csv", "do_not_call.csv~", ".do_not_call.csv.swp"):
        write(folder, "x", f"seeds/{name}")
    assert read_do_not_call(folder) == frozenset()


def test_a_table_counts_beside_the_file(folder: DataFolder) -> None:
    """Who is on either of them is not called."""
    write(folder, MODEL, "marts/do_not_call.sql")
    write(folder, f"number\n{B}")
    publish(folder, f"create table do_not_call as select unnest(['{A}', '001 212 555 0100']) as number")
    assert read_do_not_call(folder) == {A, B, C}


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("create table other(number varchar)", "sync"),
        ("create table do_not_call(phone varchar)", "sync"),
        ("create view do_not_call as select error('boom')::varchar as number", "boom"),
        ("create table do_not_call as select null::varchar as number", "''"),
        ("create table do_not_call as select 819012345678 as number", "819012345678"),
    ],
)
def test_a_table_that_is_not_understood_is_an_error(folder: DataFolder, statement: str, why: str) -> None:
    """Also one that is not built yet: it may hold people."""
    write(folder, MODEL, "marts/do_not_call.sql")
    publish(folder, statement)
    reason = refusal(folder)
    assert "do_not_call" in reason
    assert why in reason


def test_a_table_before_the_first_sync_is_an_error(folder: DataFolder) -> None:
    """Nothing is published at all."""
    write(folder, MODEL, "marts/do_not_call.sql")
    assert "verbex-sync sync" in refusal(folder)


@pytest.mark.parametrize(
    ("sql", "why"), [(MODEL.replace("number", "phone"), "`number`"), ("selec", "do_not_call.sql")]
)
def test_a_model_that_can_t_be_the_list_is_an_error(folder: DataFolder, sql: str, why: str) -> None:
    """Its name says what it is for, so it is no other table."""
    write(folder, sql, "marts/do_not_call.sql")
    publish(folder, f"create table do_not_call as select '{A}' as number")
    assert why in refusal(folder)


def test_a_table_that_has_no_model_any_more_is_no_list(folder: DataFolder) -> None:
    """A sync would drop it."""
    publish(folder, f"create table do_not_call as select '{A}' as number")
    assert read_do_not_call(folder) == frozenset()


def test_sql_that_can_t_be_used_is_an_error(folder: DataFolder) -> None:
    """Whether there is a table is not known then."""
    for place in ("marts", "more"):
        write(folder, MODEL, f"{place}/do_not_call.sql")
    with pytest.raises(ModelError):
        read_do_not_call(folder)


def test_a_number_is_found_however_it_is_written() -> None:
    """The list is in one form, and what is looked for comes in any."""
    listed = frozenset({A})
    assert is_listed(A, listed)
    assert is_listed("0081 90 1234 5678", listed)
    assert not is_listed(B, listed)
    assert not is_listed("", listed)
