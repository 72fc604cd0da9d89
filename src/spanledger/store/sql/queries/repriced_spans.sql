-- Which of some spans (a number made of span and trace) were priced anew.
SELECT DISTINCT
    tenant,
    start_time,
    cityHash64(tenant, trace_id, span_id) AS span
FROM spanledger.entries
WHERE kind = 'restatement'
    AND reason = {reason:String}
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
    AND span IN {spans:Array(UInt64)}
