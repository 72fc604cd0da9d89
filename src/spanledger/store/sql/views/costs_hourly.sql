-- costs_hourly: what was spent in each hour (UTC), by every dimension of low cardinality. A sum over
-- it equals the same sum over calls, to the last digit.
--
-- Hours that are over come from the rollup, which is recomputed whole when something changes in
-- them; the hour under way, and what is ahead of the clock, is summed from calls at this moment.
CREATE OR REPLACE VIEW spanledger.costs_hourly{on_cluster} AS
SELECT
    hour,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms, first_call, last_call
FROM spanledger.rollup_hourly FINAL
WHERE hour < (SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until') AND calls > 0
UNION ALL
SELECT
    toStartOfHour(c.start_time) AS hour,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    toInt64(count()) AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.cost_usd) AS cost_usd,
    sum(c.cost_low_usd) AS cost_low_usd,
    sum(c.cost_high_usd) AS cost_high_usd,
    sum(c.list_cost_usd) AS list_cost_usd,
    sum(c.duration_ms) AS duration_ms,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.start_time >= (SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until')
GROUP BY hour, tenant, service, environment, provider, model, operation,
    customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
    status, cost_class, unpriced_reason;
