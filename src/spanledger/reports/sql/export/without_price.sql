-- How many calls of a range have no cost, so that FOCUS has no row of them.
SELECT count() AS calls
FROM calls AS c
WHERE c.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND c.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND c.cost_usd IS NULL
