"""What is shown of a target's URL: where it is, and never how one gets in."""

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.settings import Settings
from pipelines.exports.address import Address

# letters that occur in nothing else of the URL
SECRETS = st.text(string.digits + "%+ä=&?/@:#' ").map(lambda text: f"QX{text}QX")


@given(SECRETS, SECRETS)
def test_no_secret_is_shown_wherever_it_stands(first: str, second: str) -> None:
    """In the place of the password, in an option, in the URL of a bucket, quoted or not."""
    one, two = quote(first, safe=""), quote(second, safe="")
    for url in (
        f"postgresql://user:{one}@host:5432/db?schema=x&password={two}&sslpassword={one}",
        f"delta:s3://user:{one}@bucket/prefix?secret_access_key={two}&region=eu",
        f"csv:/folder?token={one}",
        f"parquet:s3://bucket/prefix?endpoint_override=http://user:{one}@host&pwd={two}",
        # typed as they are
        f"postgresql://user:{first}@host:5432/db",
        f"postgres:user:{first}@host/db",
        f"delta:s3://key:{first}@bucket/prefix",
    ):
        address = Address(url)
        for shown in (
            str(address),
            repr(address),
            address.name,
            f"{address!r}",
            address.hide_in(f"no: {url}"),
        ):
            for secret in (one, two, first, second):
                assert secret not in shown
        assert "QX" not in str(address)


RAW = st.text(string.digits + "%+ä=&?/@:#'").map(lambda text: f"QX{text}QX")


@given(RAW)
def test_a_password_is_not_shown_that_was_typed_as_it_is(password: str) -> None:
    """With characters that end the user's part of a URL: it can't be used so, but it can't be seen either."""
    for url in (
        f"postgresql://user:{password}@host/db?schema=x",
        f"delta:s3://user:{password}@bucket/prefix",
    ):
        address = Address(url)
        hidden = address.hide_in(f"no: {url}")
        for shown in (str(address), repr(address), address.name, address.place, hidden):
            assert "QX" not in shown
            assert "qx" not in shown


def test_what_is_no_secret_is_shown() -> None:
    """So that an operator sees which target it is."""
    url = "postgresql://bi@db.example.com:5433/analytics?schema=verbex&passfile=/home/bi/.pgpass"
    assert str(Address(url)) == url
    assert Address(url).name == "postgresql_db_example_com_5433_analytics_verbex"
    for url in (
        "postgresql:///db?host=/var/run/postgresql",
        "postgresql://%2Ftmp/db",
        "postgresql://[::1]:5432/db",
        "postgresql://one:5432,two/db?options=-c%20search_path%3Dx",
    ):
        assert str(Address(url)) == url
        assert Address(url).without("schema").replace("%2Fvar%2Frun%2F", "/var/run/") == url
    assert Address("delta:s3://bucket/a/b").path == "s3://bucket/a/b"
    assert Address("csv:/srv/out?gzip=1").path == "/srv/out"


def test_settings_show_no_target() -> None:
    """Not even their user: a target is one text that may be secret."""
    urls = "postgresql://u:QX,QX@h,i:5432/d, csv:/x,y,delta:s3://bucket/prefix,xlsx:out/all.xlsx,"
    settings = Settings(_env_file=None, exports=urls)
    assert len(settings.exports) == 4
    assert "QX" not in repr(settings)
    with pytest.raises(ValueError, match="not the URL of a target") as caught:
        Settings(_env_file=None, exports="QX,QX")
    assert "QX" not in str(caught.value)
