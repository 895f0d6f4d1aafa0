-- A number for a call's id, by which loads find the call. It is shorter, and almost never shared.
--
-- Verbex's ids begin with the second in which they were made, in eight hex digits. The numbers begin with it
-- too, so calls of the same hour are close together, and DuckDB skips the years before. Any other id is
-- hashed as a whole. It is found too, but less quickly.
--
-- parameters: call_id
case
    when call_id is not null then
        (coalesce(try_cast('0x' || left(call_id, 8) as ubigint), hash(call_id) >> 32) << 32)
            | (hash(call_id) & 4294967295)
end
