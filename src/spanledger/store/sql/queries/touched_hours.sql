-- The hours in which something came into the ledger since a moment, and how much.
SELECT
    toUnixTimestamp(toStartOfHour(start_time)) AS hour_s,
    count() AS entries,
    toUnixTimestamp64Micro(max(stored_at)) AS stored_at_us
FROM spanledger.entries
WHERE stored_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
GROUP BY hour_s
ORDER BY hour_s
