-- A number for a call's id by which loads find the call: shorter than the id, and hardly two ids share one.
--
-- An id as Verbex gives them begins with the second of its making, in eight hex digits, and so does its number:
-- calls of an hour lie near each other, and DuckDB skips the years before. Any other id is hashed whole, and is
-- found as well, only not as soon.
--
-- parameters: call_id
case
    when call_id is not null then
        (coalesce(try_cast('0x' || left(call_id, 8) as ubigint), hash(call_id) >> 32) << 32)
            | (hash(call_id) & 4294967295)
end
