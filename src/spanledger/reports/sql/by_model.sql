-- The dearest models; the same model at two payers is two rows.
SELECT
    model AS name,
    provider,
    count() AS calls,
    countIf(cost_class = 'unpriced') AS unpriced_calls,
    sum(cost_usd) AS cost_usd,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM calls
WHERE start_time >= {start:DateTime64(9, 'UTC')} AND start_time < {end:DateTime64(9, 'UTC')}
GROUP BY name, provider
ORDER BY cost_usd DESC NULLS LAST, calls DESC, name, provider
LIMIT {limit:UInt32}
