-- costs_daily: what was spent on each day (UTC), by every dimension of low cardinality. A sum over it
-- equals the same sum over calls, to the last digit; it outlives the calls themselves.
--
-- Days that are over come from the rollup, today from costs_hourly.
CREATE OR REPLACE VIEW spanledger.costs_daily{on_cluster} AS
SELECT
    day,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms, first_call, last_call
FROM spanledger.rollup_daily FINAL
WHERE day < toDate((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until')) AND calls > 0
UNION ALL
SELECT
    toDate(h.hour) AS day,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
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
FROM spanledger.costs_hourly AS h
WHERE h.hour >= toStartOfDay((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until'))
GROUP BY day, tenant, service, environment, provider, model, operation,
    customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
    status, cost_class, unpriced_reason;
