-- A piece of the sums of users by day, in the order of their times, by all columns: no two rows are the same.
SELECT *
FROM users_daily AS v
WHERE v.day >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND v.day < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY ALL
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
