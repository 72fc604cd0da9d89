-- users: one row per user with all that was spent on their behalf. Made from the calls, so it goes back as
-- far as they are kept.
CREATE OR REPLACE VIEW spanledger.users{on_cluster} AS
SELECT
    c.tenant,
    c.user_id,
    any(c.customer) AS customer,
    groupUniqArray(10)(c.model) AS models,
    count() AS calls,
    countIf(c.status = 'error') AS failed_calls,
    countIf(c.cost_class = 'unpriced') AS unpriced_calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cost_usd) AS cost_usd,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.user_id != ''
GROUP BY c.tenant, c.user_id;
