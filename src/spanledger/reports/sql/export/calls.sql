-- A piece of the calls, in the order of their times.
SELECT *
FROM calls AS c
WHERE c.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND c.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY c.start_time, c.tenant, c.trace_id, c.span_id
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
