-- The charges of a stretch of time that have one of the traits (see fresh_charges), with all that
-- tells whether they are of one call.
SELECT
    tenant,
    start_time,
    trace_id,
    span_id,
    parent_span_id,
    duration_ns,
    service,
    scope_name,
    request_model,
    response_model,
    model,
    response_id,
    status,
    usage_missing,
    usage_estimated,
    input_tokens,
    output_tokens,
    cache_read_tokens,
    cache_write_tokens,
    output_reasoning_tokens,
    cityHash64(tenant, trace_id, span_id) AS span,
    cityHash64(tenant, trace_id) AS trace,
    if(response_id = '', 0, cityHash64(tenant, response_id, 'id')) AS answer,
    cityHash64(tenant, service, input_tokens, output_tokens) AS print
FROM spanledger.entries FINAL
WHERE kind = 'charge'
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
    AND (
        trace IN {traits:Array(UInt64)}
        OR (answer != 0 AND answer IN {traits:Array(UInt64)})
        OR print IN {traits:Array(UInt64)}
    )
