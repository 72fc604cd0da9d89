-- A piece of the ledger as it was booked: charges and the legs of every correction, with all that
-- their costs follow from. All entries of a span come with it, also where only some are of a model
-- that is asked for. `who` stands for every dimension that sums can be grouped by: an entry that
-- takes another one back has the same.
SELECT
    e.kind AS kind,
    e.run AS run,
    e.leg AS leg,
    e.reason AS reason,
    e.tenant AS tenant,
    lower(hex(e.trace_id)) AS trace_id,
    lower(hex(e.span_id)) AS span_id,
    e.start_time AS start_time,
    e.provider AS provider,
    e.request_model AS request_model,
    e.response_model AS response_model,
    e.service_tier AS service_tier,
    e.region AS region,
    e.status AS status,
    e.input_tokens AS input_tokens,
    e.output_tokens AS output_tokens,
    e.cache_read_tokens AS cache_read_tokens,
    e.cache_write_tokens AS cache_write_tokens,
    e.cache_write_5m_tokens AS cache_write_5m_tokens,
    e.cache_write_1h_tokens AS cache_write_1h_tokens,
    e.output_reasoning_tokens AS output_reasoning_tokens,
    e.input_audio_tokens AS input_audio_tokens,
    e.output_audio_tokens AS output_audio_tokens,
    e.cache_audio_read_tokens AS cache_audio_read_tokens,
    e.input_image_tokens AS input_image_tokens,
    e.output_image_tokens AS output_image_tokens,
    e.usage AS usage,
    e.convention AS convention,
    e.usage_missing AS usage_missing,
    e.usage_estimated AS usage_estimated,
    e.usage_invalid AS usage_invalid,
    e.cache_unknown AS cache_unknown,
    e.cache_write_unknown AS cache_write_unknown,
    e.model AS model,
    e.cost_usd AS cost_usd,
    e.cost_low_usd AS cost_low_usd,
    e.cost_high_usd AS cost_high_usd,
    e.list_cost_usd AS list_cost_usd,
    e.cost_class AS cost_class,
    e.unpriced_reason AS unpriced_reason,
    e.lines AS lines,
    e.price_book AS price_book,
    e.calls AS calls,
    e.cost_reported_usd AS cost_reported_usd,
    e.known_at AS known_at,
    cityHash64(
        e.service, e.environment, e.provider, e.model, e.operation, e.user_id, e.customer, e.team,
        e.project, e.feature, e.conversation_id, e.agent, e.workflow, e.api_key_alias,
        e.service_tier, e.region, e.status, e.cost_class, e.unpriced_reason
    ) AS who,
    toUnixTimestamp64Micro(e.stored_at) AS stored_at_us
FROM entries AS e FINAL
WHERE e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND (empty({tenants:Array(String)}) OR e.tenant IN {tenants:Array(String)})
    AND (
        empty({models:Array(String)})
        OR (e.tenant, e.start_time, e.trace_id, e.span_id) IN (
            SELECT tenant, start_time, trace_id, span_id
            FROM entries
            WHERE start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
                AND start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
                AND model IN {models:Array(String)}
        )
    )
ORDER BY e.start_time, e.tenant, e.trace_id, e.span_id, e.known_at, e.leg, e.run
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
