-- The dearest customers; calls that name none are one row, with the empty name.
SELECT
    customer AS name,
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
GROUP BY name
ORDER BY cost_usd DESC NULLS LAST, calls DESC, name
LIMIT {limit:UInt32}
