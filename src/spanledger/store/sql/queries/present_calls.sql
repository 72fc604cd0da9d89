-- Calls as they are booked now, as far as their price depends on it: charges that were never
-- restated, and the present form of those that were (see the view calls). Of a stretch of time, of
-- some tenants, providers and models where such are given; a crowded stretch comes in parts, by trace.
SELECT
    tenant, trace_id, span_id, start_time, provider, request_model, response_model, service_tier, region,
    status, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, cache_write_5m_tokens,
    cache_write_1h_tokens, output_reasoning_tokens, input_audio_tokens, output_audio_tokens,
    cache_audio_read_tokens, input_image_tokens, output_image_tokens, usage, convention,
    usage_missing, usage_estimated, usage_invalid, cache_unknown, cache_write_unknown, model,
    cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, cost_class, unpriced_reason
FROM
(
    SELECT charge.* EXCEPT stored_at
    FROM spanledger.entries AS charge FINAL
    LEFT ANTI JOIN
    (
        SELECT tenant, start_time, trace_id, span_id
        FROM spanledger.restated
        WHERE start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
            AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
    ) AS later
        ON charge.start_time = later.start_time
        AND charge.trace_id = later.trace_id
        AND sipHash64(charge.tenant, charge.span_id) = sipHash64(later.tenant, later.span_id)
    WHERE charge.kind = 'charge'
        AND charge.start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND charge.start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
    UNION ALL
    SELECT * EXCEPT state
    FROM spanledger.restated FINAL
    WHERE calls > 0
        AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
) AS call
WHERE ({parts:UInt32} = 1 OR cityHash64(trace_id) % {parts:UInt32} = {part:UInt32})
    AND (empty({tenants:Array(String)}) OR tenant IN {tenants:Array(String)})
    AND (empty({providers:Array(String)}) OR provider IN {providers:Array(String)})
    AND (
        empty({models:Array(String)})
        OR model IN {models:Array(String)}
        OR request_model IN {models:Array(String)}
        OR response_model IN {models:Array(String)}
    )
