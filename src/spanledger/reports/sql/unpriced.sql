-- Calls whose cost is not known, by model and reason.
SELECT
    c.provider,
    c.model,
    c.unpriced_reason AS reason,
    count() AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens
FROM calls AS c
WHERE
    c.start_time >= {start:DateTime64(9, 'UTC')} AND c.start_time < {end:DateTime64(9, 'UTC')}
    AND c.cost_class = 'unpriced'
GROUP BY provider, model, reason
ORDER BY calls DESC, provider, model, reason
LIMIT {limit:UInt32}
