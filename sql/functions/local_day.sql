-- The day of a time in the time zone of days: `VERBEX_TIME_ZONE`, or UTC.
--
-- parameters: moment
(moment at time zone $time_zone)::date
