-- Where the sums of some days are not those of their hours; see sums_by_hour.
SELECT
    toUnixTimestamp(toDateTime(bucket, 'UTC')) AS bucket_s,
    tenant,
    provider,
    model,
    [
        toString(sumIf(s.calls, s.side > 0)),
        toString(sumIf(s.input_tokens, s.side > 0)),
        toString(sumIf(s.output_tokens, s.side > 0)),
        toString(sumIf(s.cache_read_tokens, s.side > 0)),
        toString(sumIf(s.cache_write_tokens, s.side > 0)),
        toString(sumIf(s.reasoning_tokens, s.side > 0)),
        toString(sumIf(s.cost_usd, s.side > 0)),
        toString(sumIf(s.cost_low_usd, s.side > 0)),
        toString(sumIf(s.cost_high_usd, s.side > 0)),
        toString(sumIf(s.list_cost_usd, s.side > 0))
    ] AS ledger,
    [
        toString(sumIf(s.calls, s.side < 0)),
        toString(sumIf(s.input_tokens, s.side < 0)),
        toString(sumIf(s.output_tokens, s.side < 0)),
        toString(sumIf(s.cache_read_tokens, s.side < 0)),
        toString(sumIf(s.cache_write_tokens, s.side < 0)),
        toString(sumIf(s.reasoning_tokens, s.side < 0)),
        toString(sumIf(s.cost_usd, s.side < 0)),
        toString(sumIf(s.cost_low_usd, s.side < 0)),
        toString(sumIf(s.cost_high_usd, s.side < 0)),
        toString(sumIf(s.list_cost_usd, s.side < 0))
    ] AS sums,
    arrayFirstIndex((one, other) -> one != other, ledger, sums) AS place,
    [
        'calls', 'input_tokens', 'output_tokens', 'cache_read_tokens', 'cache_write_tokens',
        'reasoning_tokens', 'cost_usd', 'cost_low_usd', 'cost_high_usd', 'list_cost_usd'
    ][place] AS differs,
    ledger[place] AS comes_out,
    sums[place] AS booked,
    count() OVER () AS found
FROM
(
    SELECT
        toDate(h.hour) AS bucket,
        h.tenant AS tenant,
        h.provider AS provider,
        h.model AS model,
        cityHash64(
            h.service, h.environment, h.operation, h.customer, h.team, h.project, h.feature,
            h.agent, h.workflow, h.api_key_alias, h.service_tier, h.region, h.status,
            h.cost_class, h.unpriced_reason
        ) AS rest,
        toInt64(sum(h.calls)) AS calls,
        sum(h.input_tokens) AS input_tokens,
        sum(h.output_tokens) AS output_tokens,
        sum(h.cache_read_tokens) AS cache_read_tokens,
        sum(h.cache_write_tokens) AS cache_write_tokens,
        sum(h.reasoning_tokens) AS reasoning_tokens,
        ifNull(sum(h.cost_usd), 0) AS cost_usd,
        ifNull(sum(h.cost_low_usd), 0) AS cost_low_usd,
        ifNull(sum(h.cost_high_usd), 0) AS cost_high_usd,
        ifNull(sum(h.list_cost_usd), 0) AS list_cost_usd,
        1 AS side
    FROM rollup_hourly AS h FINAL
    WHERE toDate(h.hour) IN {days:Array(Date)}
        AND (empty({tenants:Array(String)}) OR h.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR h.model IN {models:Array(String)})
    GROUP BY bucket, tenant, provider, model, rest
    UNION ALL
    SELECT
        d.day AS bucket,
        d.tenant AS tenant,
        d.provider AS provider,
        d.model AS model,
        cityHash64(
            d.service, d.environment, d.operation, d.customer, d.team, d.project, d.feature,
            d.agent, d.workflow, d.api_key_alias, d.service_tier, d.region, d.status,
            d.cost_class, d.unpriced_reason
        ) AS rest,
        toInt64(sum(d.calls)) AS calls,
        sum(d.input_tokens) AS input_tokens,
        sum(d.output_tokens) AS output_tokens,
        sum(d.cache_read_tokens) AS cache_read_tokens,
        sum(d.cache_write_tokens) AS cache_write_tokens,
        sum(d.reasoning_tokens) AS reasoning_tokens,
        ifNull(sum(d.cost_usd), 0) AS cost_usd,
        ifNull(sum(d.cost_low_usd), 0) AS cost_low_usd,
        ifNull(sum(d.cost_high_usd), 0) AS cost_high_usd,
        ifNull(sum(d.list_cost_usd), 0) AS list_cost_usd,
        -1 AS side
    FROM rollup_daily AS d FINAL
    WHERE d.day IN {days:Array(Date)}
        AND (empty({tenants:Array(String)}) OR d.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR d.model IN {models:Array(String)})
    GROUP BY bucket, tenant, provider, model, rest
) AS s
GROUP BY bucket, tenant, provider, model, rest
HAVING place > 0
ORDER BY bucket_s, tenant, provider, model
LIMIT {rows:UInt64}
