-- The dearest models; the same model at two payers is two rows.
SELECT
    c.model AS name,
    c.provider,
    count() AS calls,
    countIf(c.cost_class = 'unpriced') AS unpriced_calls,
    sum(c.cost_usd) AS cost_usd,
    sum(c.input_tokens) AS input_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens
FROM calls AS c
WHERE c.start_time >= {start:DateTime64(9, 'UTC')} AND c.start_time < {end:DateTime64(9, 'UTC')}
GROUP BY name, provider
ORDER BY cost_usd DESC NULLS LAST, calls DESC, name, provider
LIMIT {limit:UInt32}
