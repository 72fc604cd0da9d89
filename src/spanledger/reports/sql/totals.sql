-- One row: what the calls of a time range cost together.
SELECT
    count() AS calls,
    countIf(status = 'error') AS failed_calls,
    countIf(cost_class = 'unpriced') AS unpriced_calls,
    sum(cost_usd) AS cost_usd,
    sum(coalesce(cost_low_usd, cost_usd)) AS cost_low_usd,
    sum(coalesce(cost_high_usd, cost_usd)) AS cost_high_usd,
    sum(input_tokens) AS input_tokens,
    sum(cache_read_tokens) AS cache_read_tokens,
    sum(cache_write_tokens) AS cache_write_tokens,
    sum(output_tokens) AS output_tokens,
    sum(reasoning_tokens) AS reasoning_tokens
FROM calls
WHERE start_time >= {start:DateTime64(9, 'UTC')} AND start_time < {end:DateTime64(9, 'UTC')}
