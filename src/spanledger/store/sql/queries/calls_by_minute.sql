-- How many charges each minute of a stretch of time has: what to cut long work by.
SELECT toUnixTimestamp(toStartOfMinute(start_time)) AS minute_s, count() AS charges
FROM spanledger.entries
WHERE kind = 'charge'
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
GROUP BY minute_s
ORDER BY minute_s
