-- Correct what calls cost: take each back as it is booked now, and book it with the prices handed
-- over. Two legs a call, told apart by `number`; the facts stay within the engine. A call that this
-- run has corrected already is left alone. Legs are later than what they correct, whatever the clock.
INSERT INTO spanledger.entries (* EXCEPT stored_at)
SELECT call.* REPLACE (
    'restatement' AS kind,
    {run:String} AS run,
    number AS leg,
    {reason:String} AS reason,
    fromUnixTimestamp64Nano(
        greatest({begun_ns:Int64}, toUnixTimestamp64Nano(call.known_at) + 1), 'UTC'
    ) AS known_at,
    if(number = 1, -call.calls, call.calls) AS calls,
    if(number = 1, -call.input_tokens, call.input_tokens) AS input_tokens,
    if(number = 1, -call.output_tokens, call.output_tokens) AS output_tokens,
    if(number = 1, -call.cache_read_tokens, call.cache_read_tokens) AS cache_read_tokens,
    if(number = 1, -call.cache_write_tokens, call.cache_write_tokens) AS cache_write_tokens,
    if(number = 1, -call.cache_write_5m_tokens, call.cache_write_5m_tokens) AS cache_write_5m_tokens,
    if(number = 1, -call.cache_write_1h_tokens, call.cache_write_1h_tokens) AS cache_write_1h_tokens,
    if(number = 1, -call.output_reasoning_tokens, call.output_reasoning_tokens)
        AS output_reasoning_tokens,
    if(number = 1, -call.input_audio_tokens, call.input_audio_tokens) AS input_audio_tokens,
    if(number = 1, -call.output_audio_tokens, call.output_audio_tokens) AS output_audio_tokens,
    if(number = 1, -call.cache_audio_read_tokens, call.cache_audio_read_tokens)
        AS cache_audio_read_tokens,
    if(number = 1, -call.input_image_tokens, call.input_image_tokens) AS input_image_tokens,
    if(number = 1, -call.output_image_tokens, call.output_image_tokens) AS output_image_tokens,
    if(number = 1, mapApply((unit, quantity) -> (unit, -quantity), call.usage), call.usage) AS usage,
    if(number = 1, -call.cost_reported_usd, call.cost_reported_usd) AS cost_reported_usd,
    if(number = 1, call.model, handed.model) AS model,
    if(number = 1, -call.cost_usd, handed.cost_usd) AS cost_usd,
    if(number = 1, -call.cost_low_usd, handed.cost_low_usd) AS cost_low_usd,
    if(number = 1, -call.cost_high_usd, handed.cost_high_usd) AS cost_high_usd,
    if(number = 1, -call.list_cost_usd, handed.list_cost_usd) AS list_cost_usd,
    if(number = 1, call.cost_class, handed.cost_class) AS cost_class,
    if(number = 1, call.unpriced_reason, handed.unpriced_reason) AS unpriced_reason,
    if(
        number = 1,
        arrayMap(
            line -> (
                line.unit, -line.quantity, line.rate_usd, line.per, -line.amount_usd, line.price_id
            ),
            call.lines
        ),
        handed.lines
    ) AS lines,
    if(number = 1, call.price_book, handed.price_book) AS price_book
)
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
INNER JOIN handed
    ON call.start_time = handed.start_time
    AND call.trace_id = handed.trace_id
    AND call.span_id = handed.span_id
    AND call.tenant = handed.tenant
ARRAY JOIN [1, 2] AS number
WHERE call.run != {run:String}
