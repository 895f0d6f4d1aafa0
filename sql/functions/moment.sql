-- A UNIX time, as the text of a number, as a timestamp, UTC, cut to the microsecond; null if it is no number.
--
-- `digits` are those between its unit and the nanosecond: 9 for seconds, 6 for milliseconds. Moving the point by an
-- exponent makes a whole number of any usual time, so that nothing is rounded and nothing slow computed. What has more
-- digits, lies after the year 2262, or has an exponent already goes through decimals.
--
-- parameters: told, digits
make_timestamp(
    coalesce(
        case
            when strlen(told) - instr(told || '.', '.') <= digits then try_cast(told || ('e' || digits) as bigint) // 1000
        end,
        floor(try_cast(told as decimal(28, 9)) * (10 ** (digits - 3))::integer)::bigint
    )
)
