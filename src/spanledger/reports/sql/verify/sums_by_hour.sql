-- Where the sums of some hours are not those of their entries, to the last digit, by every dimension
-- that they are summed by; `found` says how many such places there are.
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
        toStartOfHour(e.start_time) AS bucket,
        e.tenant AS tenant,
        e.provider AS provider,
        e.model AS model,
        cityHash64(
            e.service, e.environment, e.operation, e.customer, e.team, e.project, e.feature,
            e.agent, e.workflow, e.api_key_alias, e.service_tier, e.region, e.status,
            e.cost_class, e.unpriced_reason
        ) AS rest,
        toInt64(sum(e.calls)) AS calls,
        sum(e.input_tokens) AS input_tokens,
        sum(e.output_tokens) AS output_tokens,
        sum(e.cache_read_tokens) AS cache_read_tokens,
        sum(e.cache_write_tokens) AS cache_write_tokens,
        sum(e.output_reasoning_tokens) AS reasoning_tokens,
        ifNull(sum(e.cost_usd), 0) AS cost_usd,
        ifNull(sum(e.cost_low_usd), 0) AS cost_low_usd,
        ifNull(sum(e.cost_high_usd), 0) AS cost_high_usd,
        ifNull(sum(e.list_cost_usd), 0) AS list_cost_usd,
        1 AS side
    FROM entries AS e FINAL
    WHERE e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
        AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        AND toStartOfHour(e.start_time) IN {hours:Array(DateTime('UTC'))}
        AND (empty({tenants:Array(String)}) OR e.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR e.model IN {models:Array(String)})
    GROUP BY bucket, tenant, provider, model, rest
    UNION ALL
    SELECT
        h.hour AS bucket,
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
        -1 AS side
    FROM rollup_hourly AS h FINAL
    WHERE h.hour IN {hours:Array(DateTime('UTC'))}
        AND (empty({tenants:Array(String)}) OR h.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR h.model IN {models:Array(String)})
    GROUP BY bucket, tenant, provider, model, rest
) AS s
GROUP BY bucket, tenant, provider, model, rest
HAVING place > 0
ORDER BY bucket_s, tenant, provider, model
LIMIT {rows:UInt64}
