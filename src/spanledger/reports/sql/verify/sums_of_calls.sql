-- Where the view calls does not come to the entries of some hours; see sums_by_hour.
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
        toStartOfHour(c.start_time) AS bucket,
        c.tenant AS tenant,
        c.provider AS provider,
        c.model AS model,
        cityHash64(
            c.service, c.environment, c.operation, c.customer, c.team, c.project, c.feature,
            c.agent, c.workflow, c.api_key_alias, c.service_tier, c.region, c.status,
            c.cost_class, c.unpriced_reason
        ) AS rest,
        toInt64(count()) AS calls,
        sum(c.input_tokens) AS input_tokens,
        sum(c.output_tokens) AS output_tokens,
        sum(c.cache_read_tokens) AS cache_read_tokens,
        sum(c.cache_write_tokens) AS cache_write_tokens,
        sum(c.reasoning_tokens) AS reasoning_tokens,
        ifNull(sum(c.cost_usd), 0) AS cost_usd,
        ifNull(sum(c.cost_low_usd), 0) AS cost_low_usd,
        ifNull(sum(c.cost_high_usd), 0) AS cost_high_usd,
        ifNull(sum(c.list_cost_usd), 0) AS list_cost_usd,
        -1 AS side
    FROM calls AS c
    WHERE c.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
        AND c.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        AND toStartOfHour(c.start_time) IN {hours:Array(DateTime('UTC'))}
        AND (empty({tenants:Array(String)}) OR c.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR c.model IN {models:Array(String)})
    GROUP BY bucket, tenant, provider, model, rest
) AS s
GROUP BY bucket, tenant, provider, model, rest
HAVING place > 0
ORDER BY bucket_s, tenant, provider, model
LIMIT {rows:UInt64}
