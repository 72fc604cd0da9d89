-- Recompute days of the rollup from its hours, whole.
-- The second half brings every combination that the buckets had until now, without calls, so that
-- one that has gone is replaced too. One insert: whoever reads sees the old or the new buckets.
INSERT INTO spanledger.rollup_daily
    (day, tenant, service, environment, provider, model, operation, customer, team, project,
     feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
     unpriced_reason, calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
     reasoning_tokens, cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms,
     first_call, last_call, version)
SELECT
    day,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    sum(b.calls) AS calls,
    sum(b.input_tokens) AS input_tokens,
    sum(b.output_tokens) AS output_tokens,
    sum(b.cache_read_tokens) AS cache_read_tokens,
    sum(b.cache_write_tokens) AS cache_write_tokens,
    sum(b.reasoning_tokens) AS reasoning_tokens,
    sum(b.cost_usd) AS cost_usd,
    sum(b.cost_low_usd) AS cost_low_usd,
    sum(b.cost_high_usd) AS cost_high_usd,
    sum(b.list_cost_usd) AS list_cost_usd,
    sum(b.duration_ms) AS duration_ms,
    minIf(b.first_call, b.calls > 0) AS first_call,
    maxIf(b.last_call, b.calls > 0) AS last_call,
    toUInt64(toUnixTimestamp64Nano(now64(9))) AS version
FROM
(
    SELECT
        toDate(h.hour) AS day,
        tenant, service, environment, provider, model, operation, customer, team, project,
        feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
        unpriced_reason,
        sum(h.calls) AS calls,
        sum(h.input_tokens) AS input_tokens,
        sum(h.output_tokens) AS output_tokens,
        sum(h.cache_read_tokens) AS cache_read_tokens,
        sum(h.cache_write_tokens) AS cache_write_tokens,
        sum(h.reasoning_tokens) AS reasoning_tokens,
        sum(h.cost_usd) AS cost_usd,
        sum(h.cost_low_usd) AS cost_low_usd,
        sum(h.cost_high_usd) AS cost_high_usd,
        sum(h.list_cost_usd) AS list_cost_usd,
        sum(h.duration_ms) AS duration_ms,
        minIf(h.first_call, h.calls > 0) AS first_call,
        maxIf(h.last_call, h.calls > 0) AS last_call
    FROM spanledger.rollup_hourly AS h FINAL
    WHERE toDate(h.hour) IN {days:Array(Date)} AND h.calls > 0
    GROUP BY day, tenant, service, environment, provider, model, operation,
        customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
        status, cost_class, unpriced_reason
    UNION ALL
    SELECT
        day,
        tenant, service, environment, provider, model, operation, customer, team, project,
        feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
        unpriced_reason,
        0 AS calls,
        0, 0, 0, 0, 0,
        NULL, NULL, NULL, NULL,
        0,
        first_call,
        last_call
    FROM spanledger.rollup_daily FINAL
    WHERE day IN {days:Array(Date)}
) AS b
GROUP BY day, tenant, service, environment, provider, model, operation,
    customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
    status, cost_class, unpriced_reason
