-- Calls whose cost is not known, by model and reason.
SELECT
    provider,
    model,
    unpriced_reason AS reason,
    count() AS calls,
    countIf(status = 'error') AS failed_calls,
    sum(input_tokens) AS input_tokens,
    sum(output_tokens) AS output_tokens
FROM calls
WHERE
    start_time >= {start:DateTime64(9, 'UTC')} AND start_time < {end:DateTime64(9, 'UTC')}
    AND cost_class = 'unpriced'
GROUP BY provider, model, reason
ORDER BY calls DESC, provider, model, reason
LIMIT {limit:UInt32}
