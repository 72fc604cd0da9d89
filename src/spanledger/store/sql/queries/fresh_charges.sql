-- The charges that came into the table at some moments, from one charge on, with what a second
-- observation of the same call would have in common with them: its trace, its response id, its
-- fingerprint. The start time and the ids are in the cursor because one insert, or what an older
-- schema had, brings many rows at one moment.
SELECT
    toUnixTimestamp64Micro(stored_at) AS stored_at_us,
    toUnixTimestamp64Nano(start_time) AS start_time_ns,
    hex(trace_id) AS trace_hex,
    hex(span_id) AS span_hex,
    tenant,
    service,
    cityHash64(tenant, trace_id, span_id) AS span,
    cityHash64(tenant, trace_id) AS trace,
    if(response_id = '', 0, cityHash64(tenant, response_id, 'id')) AS answer,
    cityHash64(tenant, service, input_tokens, output_tokens) AS print
FROM spanledger.entries
WHERE kind = 'charge'
    AND stored_at >= fromUnixTimestamp64Micro({first_us:Int64}, 'UTC')
    AND stored_at <= fromUnixTimestamp64Micro({last_us:Int64}, 'UTC')
    AND toUnixTimestamp64Micro(stored_at) IN {moments_us:Array(Int64)}
    AND (toUnixTimestamp64Micro(stored_at), toUnixTimestamp64Nano(start_time), hex(trace_id), hex(span_id))
        > ({stored_at_us:Int64}, {start_time_ns:Int64}, {trace_hex:String}, {span_hex:String})
ORDER BY stored_at_us, start_time_ns, trace_hex, span_hex
LIMIT {rows_max:UInt32}
