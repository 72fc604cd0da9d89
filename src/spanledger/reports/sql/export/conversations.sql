-- The conversations that began in a range, in the order of their times.
SELECT *
FROM conversations AS v
WHERE v.first_call >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND v.first_call < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
ORDER BY v.first_call, v.tenant, v.conversation_id
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
