-- Calls as they are booked now (see present_calls), with all that a price may depend on and nothing
-- else: a piece of them has to fit an answer of the SQL listener. Not of the view calls, which does
-- not show every count that has a price.
SELECT
    call.start_time AS start_time,
    call.provider AS provider,
    call.request_model AS request_model,
    call.response_model AS response_model,
    call.service_tier AS service_tier,
    call.region AS region,
    call.status AS status,
    call.input_tokens AS input_tokens,
    call.output_tokens AS output_tokens,
    call.cache_read_tokens AS cache_read_tokens,
    call.cache_write_tokens AS cache_write_tokens,
    call.cache_write_5m_tokens AS cache_write_5m_tokens,
    call.cache_write_1h_tokens AS cache_write_1h_tokens,
    call.output_reasoning_tokens AS output_reasoning_tokens,
    call.input_audio_tokens AS input_audio_tokens,
    call.output_audio_tokens AS output_audio_tokens,
    call.cache_audio_read_tokens AS cache_audio_read_tokens,
    call.input_image_tokens AS input_image_tokens,
    call.output_image_tokens AS output_image_tokens,
    call.usage AS usage,
    call.convention AS convention,
    call.usage_missing AS usage_missing,
    call.usage_estimated AS usage_estimated,
    call.usage_invalid AS usage_invalid,
    call.cache_unknown AS cache_unknown,
    call.cache_write_unknown AS cache_write_unknown,
    call.cost_usd AS booked_usd
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
WHERE ({parts:UInt32} = 1 OR cityHash64(call.trace_id) % {parts:UInt32} = {part:UInt32})
    AND (empty({tenants:Array(String)}) OR call.tenant IN {tenants:Array(String)})
    AND (empty({providers:Array(String)}) OR call.provider IN {providers:Array(String)})
    AND (
        empty({models:Array(String)})
        OR call.model IN {models:Array(String)}
        OR call.request_model IN {models:Array(String)}
        OR call.response_model IN {models:Array(String)}
    )
