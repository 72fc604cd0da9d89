-- users: one row per user with all that was spent on their behalf. It goes back as far as calls are
-- kept.
CREATE OR REPLACE VIEW spanledger.users{on_cluster} AS
SELECT
    d.tenant,
    d.user_id,
    any(d.customer) AS customer,
    groupUniqArray(10)(d.model) AS models,
    sum(d.calls) AS calls,
    sum(d.failed_calls) AS failed_calls,
    sum(d.unpriced_calls) AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.users_daily AS d
WHERE d.user_id != ''
GROUP BY d.tenant, d.user_id;
