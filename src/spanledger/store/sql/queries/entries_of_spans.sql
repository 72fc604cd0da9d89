-- Whole entries, charges and settlement's legs, of the given spans (a number made of span and
-- trace; the caller compares the whole key).
SELECT * EXCEPT stored_at
FROM spanledger.entries FINAL
WHERE tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
    AND (kind = 'charge' OR reason IN {reasons:Array(String)})
    AND cityHash64(tenant, trace_id, span_id) IN {spans:Array(UInt64)}
