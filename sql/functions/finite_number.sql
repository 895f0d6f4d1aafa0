-- The number that a text is; null if it is none, or is not finite: one NaN or infinity, which are doubles too,
-- would be the sum and the average of a whole dashboard.
--
-- parameters: written
case when isfinite(try_cast(written as double)) then try_cast(written as double) end
