-- The corrections that were made in a range, in the order of their times.
SELECT *
FROM restatements AS v
WHERE v.known_at >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND v.known_at < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY v.known_at, v.tenant, v.run, v.reason
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
