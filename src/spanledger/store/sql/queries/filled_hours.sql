-- The hours of a stretch of time that have entries.
SELECT DISTINCT toUnixTimestamp(toStartOfHour(start_time)) AS hour_s
FROM spanledger.entries
WHERE start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
ORDER BY hour_s
