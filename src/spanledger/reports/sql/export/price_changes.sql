-- The changes of prices that were learned in a range, in the order of their times.
SELECT *
FROM price_changes AS v
WHERE v.learned_at >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND v.learned_at < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY v.learned_at, v.provider, v.model, v.price_id, v.unit
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
