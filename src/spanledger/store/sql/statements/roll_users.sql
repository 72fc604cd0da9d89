-- Recompute days of the sums of users from the calls, whole.
-- The second half brings every combination that the days had until now, without calls, so that one
-- that has gone is replaced too. One insert: whoever reads sees the old or the new days.
INSERT INTO spanledger.rollup_users_daily
    (day, tenant, user_id, customer, service, model, calls, failed_calls, unpriced_calls,
     input_tokens, output_tokens, cache_read_tokens, cost_usd, first_call, last_call, version)
SELECT
    day, tenant, user_id, customer, service, model,
    sum(b.calls) AS calls,
    sum(b.failed_calls) AS failed_calls,
    sum(b.unpriced_calls) AS unpriced_calls,
    sum(b.input_tokens) AS input_tokens,
    sum(b.output_tokens) AS output_tokens,
    sum(b.cache_read_tokens) AS cache_read_tokens,
    sum(b.cost_usd) AS cost_usd,
    minIf(b.first_call, b.calls > 0) AS first_call,
    maxIf(b.last_call, b.calls > 0) AS last_call,
    toUInt64(toUnixTimestamp64Nano(now64(9))) AS version
FROM
(
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
    WHERE toDate(c.start_time) IN {days:Array(Date)}
    GROUP BY day, tenant, user_id, customer, service, model
    UNION ALL
    SELECT
        day, tenant, user_id, customer, service, model,
        0 AS calls,
        0, 0, 0, 0, 0,
        NULL,
        first_call,
        last_call
    FROM spanledger.rollup_users_daily FINAL
    WHERE day IN {days:Array(Date)}
) AS b
GROUP BY day, tenant, user_id, customer, service, model
