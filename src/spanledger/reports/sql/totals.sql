-- One row: what the calls of a time range cost together.
-- "c." throughout: ClickHouse takes a bare name for the alias, and refuses a sum of a sum.
SELECT
    count() AS calls,
    countIf(c.status = 'error') AS failed_calls,
    countIf(c.cost_class = 'unpriced') AS unpriced_calls,
    sum(c.cost_usd) AS cost_usd,
    sum(coalesce(c.cost_low_usd, c.cost_usd)) AS cost_low_usd,
    sum(coalesce(c.cost_high_usd, c.cost_usd)) AS cost_high_usd,
    sum(c.input_tokens) AS input_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens
FROM calls AS c
WHERE c.start_time >= {start:DateTime64(9, 'UTC')} AND c.start_time < {end:DateTime64(9, 'UTC')}
