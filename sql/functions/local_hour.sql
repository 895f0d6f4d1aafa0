-- The hour of the day, 0 to 23, of a time in the time zone of days: `VERBEX_TIME_ZONE`, or UTC.
--
-- parameters: moment
hour(moment at time zone $time_zone)
