-- A time as Verbex's API writes it (ISO 8601), in UTC if it names no zone; null if it is none, or is not from the
-- year 1970 to the year 9999. DuckDB also reads infinity and years that no later step can calculate with.
--
-- parameters: written
case
    when try_cast(written as timestamptz) >= '1970-01-01'::timestamptz
        and try_cast(written as timestamptz) < '9999-12-31'::timestamptz
        then try_cast(written as timestamptz)
end
