-- users_daily: what was spent on behalf of each user on each day (UTC), by customer, service and
-- model. A sum over it equals the same sum over calls, to the last digit; it goes back as far as they
-- are kept. user_id is '' where the app did not say.
--
-- Days that are over come from the rollup, today is summed from calls at this moment.
CREATE OR REPLACE VIEW spanledger.users_daily{on_cluster} AS
SELECT
    day, tenant, user_id, customer, service, model, calls, failed_calls, unpriced_calls,
    input_tokens, output_tokens, cache_read_tokens, cost_usd, first_call, last_call
FROM spanledger.rollup_users_daily FINAL
WHERE day < toDate((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'users_rolled_until')) AND calls > 0
UNION ALL
SELECT
    toDate(c.start_time) AS day,
    tenant, user_id, customer, service, model,
    toInt64(count()) AS calls,
    toInt64(countIf(c.status = 'error')) AS failed_calls,
    toInt64(countIf(c.cost_class = 'unpriced')) AS unpriced_calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cost_usd) AS cost_usd,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.start_time >= toStartOfDay((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'users_rolled_until'))
GROUP BY day, tenant, user_id, customer, service, model;
