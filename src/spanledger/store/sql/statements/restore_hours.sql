-- Put the sums of days where their hours were lost: all of a day into its first hour.
-- The second half brings every combination that the hours still have, without calls, so that what
-- is left of them is replaced. One insert: whoever reads sees the old or the new buckets.
INSERT INTO spanledger.rollup_hourly
    (hour, tenant, service, environment, provider, model, operation, customer, team, project,
     feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
     unpriced_reason, calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
     reasoning_tokens, cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms,
     first_call, last_call, version)
SELECT
    hour,
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
        toDateTime(day, 'UTC') AS hour,
        tenant, service, environment, provider, model, operation, customer, team, project,
        feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
        unpriced_reason, calls, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens, reasoning_tokens, cost_usd, cost_low_usd, cost_high_usd, list_cost_usd,
        duration_ms, first_call, last_call
    FROM spanledger.rollup_daily FINAL
    WHERE day IN {days:Array(Date)} AND calls > 0
    UNION ALL
    SELECT
        hour,
        tenant, service, environment, provider, model, operation, customer, team, project,
        feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
        unpriced_reason,
        0 AS calls,
        0, 0, 0, 0, 0,
        NULL, NULL, NULL, NULL,
        0,
        first_call,
        last_call
    FROM spanledger.rollup_hourly FINAL
    WHERE toDate(hour) IN {days:Array(Date)}
) AS b
GROUP BY hour, tenant, service, environment, provider, model, operation, customer, team, project,
    feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
    unpriced_reason
