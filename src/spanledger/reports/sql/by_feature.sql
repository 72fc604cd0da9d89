-- The dearest features; calls that name none are one row, with the empty name.
SELECT
    c.feature AS name,
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
GROUP BY name
ORDER BY cost_usd DESC NULLS LAST, calls DESC, name
LIMIT {limit:UInt32}
