-- unpriced_models: one row per model whose calls have no price yet, and why. They are in no sum of
-- money until the price book knows them.
CREATE OR REPLACE VIEW spanledger.unpriced_models{on_cluster} AS
SELECT
    d.tenant, d.provider, d.model, d.unpriced_reason,
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
WHERE d.cost_class = 'unpriced'
GROUP BY d.tenant, d.provider, d.model, d.unpriced_reason;
