-- calls: one row per model call with its current cost. The public SQL API; docs/sql.md describes
-- each column.
--
-- FINAL leaves one row per delivered call. Restatements, once there are any, join here by the same
-- span key (tenant, start_time, trace_id, span_id) and add their differences to the charge.
-- cost_usd is NULL where the call is unpriced, never 0: a plain sum() then skips it.

CREATE OR REPLACE VIEW spanledger.calls AS
SELECT
    lower(hex(charge.trace_id)) AS trace_id,
    lower(hex(charge.span_id)) AS span_id,
    lower(hex(charge.parent_span_id)) AS parent_span_id,
    charge.start_time AS start_time,
    charge.duration_ns / 1000000 AS duration_ms,
    charge.time_to_first_token_ms AS time_to_first_token_ms,
    charge.tenant AS tenant,
    charge.service AS service,
    charge.environment AS environment,
    charge.provider AS provider,
    charge.request_model AS request_model,
    charge.response_model AS response_model,
    charge.model AS model,
    charge.operation AS operation,
    charge.user_id AS user_id,
    charge.customer AS customer,
    charge.team AS team,
    charge.project AS project,
    charge.feature AS feature,
    charge.conversation_id AS conversation_id,
    charge.agent AS agent,
    charge.workflow AS workflow,
    charge.api_key_alias AS api_key_alias,
    charge.service_tier AS service_tier,
    charge.response_id AS response_id,
    charge.status AS status,
    charge.error_type AS error_type,
    charge.input_tokens AS input_tokens,
    charge.output_tokens AS output_tokens,
    charge.cache_read_tokens AS cache_read_tokens,
    charge.cache_write_tokens AS cache_write_tokens,
    charge.cache_write_5m_tokens AS cache_write_5m_tokens,
    charge.cache_write_1h_tokens AS cache_write_1h_tokens,
    charge.output_reasoning_tokens AS reasoning_tokens,
    charge.input_audio_tokens AS input_audio_tokens,
    charge.output_audio_tokens AS output_audio_tokens,
    charge.usage AS usage,
    charge.convention AS convention,
    charge.usage_missing AS usage_missing,
    charge.usage_estimated AS usage_estimated,
    charge.usage_invalid AS usage_invalid,
    charge.cache_unknown AS cache_unknown,
    charge.cost_usd AS cost_usd,
    charge.cost_low_usd AS cost_low_usd,
    charge.cost_high_usd AS cost_high_usd,
    charge.list_cost_usd AS list_cost_usd,
    charge.cost_reported_usd AS cost_reported_usd,
    charge.cost_class AS cost_class,
    charge.unpriced_reason AS unpriced_reason,
    charge.lines AS lines,
    charge.price_book AS price_book,
    charge.known_at AS known_at,
    charge.attributes AS attributes
FROM spanledger.entries AS charge FINAL
WHERE charge.kind = 'charge';
