-- A UNIX time that is given as text, cut to the microsecond; null if it is not a number or no time.
--
-- `digits` is the number of digits between its unit and the nanosecond: 9 for seconds, 6 for milliseconds.
-- Adding an exponent moves the decimal point and makes any usual time a whole number: nothing is rounded, and
-- it is fast. A time that has more digits, is after the year 2262, or has an exponent already is computed
-- with decimals.
--
-- parameters: text, digits
try(
    make_timestamptz(
        coalesce(
            case
                when strlen(text) - instr(text || '.', '.') <= digits then try_cast(text || ('e' || digits) as bigint) // 1000
            end,
            floor(try_cast(text as decimal(28, 9)) * (10 ** (digits - 3))::integer)::bigint
        )
    )
)
