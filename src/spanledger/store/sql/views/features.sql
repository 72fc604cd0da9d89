-- features: one row per feature with all that was spent for it, from the first call to now.
CREATE OR REPLACE VIEW spanledger.features{on_cluster} AS
SELECT
    d.tenant, d.feature,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
GROUP BY d.tenant, d.feature;
