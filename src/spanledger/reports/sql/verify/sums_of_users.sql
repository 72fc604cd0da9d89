-- Where the sums of users of some days are not those of their entries; see sums_by_hour.
SELECT
    toUnixTimestamp(toDateTime(bucket, 'UTC')) AS bucket_s,
    tenant,
    '' AS provider,
    model,
    [
        toString(sumIf(s.calls, s.side > 0)),
        toString(sumIf(s.failed_calls, s.side > 0)),
        toString(sumIf(s.unpriced_calls, s.side > 0)),
        toString(sumIf(s.input_tokens, s.side > 0)),
        toString(sumIf(s.output_tokens, s.side > 0)),
        toString(sumIf(s.cache_read_tokens, s.side > 0)),
        toString(sumIf(s.cost_usd, s.side > 0))
    ] AS ledger,
    [
        toString(sumIf(s.calls, s.side < 0)),
        toString(sumIf(s.failed_calls, s.side < 0)),
        toString(sumIf(s.unpriced_calls, s.side < 0)),
        toString(sumIf(s.input_tokens, s.side < 0)),
        toString(sumIf(s.output_tokens, s.side < 0)),
        toString(sumIf(s.cache_read_tokens, s.side < 0)),
        toString(sumIf(s.cost_usd, s.side < 0))
    ] AS sums,
    arrayFirstIndex((one, other) -> one != other, ledger, sums) AS place,
    [
        'calls', 'failed_calls', 'unpriced_calls', 'input_tokens',
        'output_tokens', 'cache_read_tokens', 'cost_usd'
    ][place] AS differs,
    ledger[place] AS comes_out,
    sums[place] AS booked,
    count() OVER () AS found
FROM
(
    SELECT
        toDate(e.start_time) AS bucket,
        e.tenant AS tenant,
        e.model AS model,
        cityHash64(e.user_id, e.customer, e.service) AS rest,
        toInt64(sum(e.calls)) AS calls,
        toInt64(sumIf(e.calls, e.status = 'error')) AS failed_calls,
        toInt64(sumIf(e.calls, e.cost_class = 'unpriced')) AS unpriced_calls,
        sum(e.input_tokens) AS input_tokens,
        sum(e.output_tokens) AS output_tokens,
        sum(e.cache_read_tokens) AS cache_read_tokens,
        ifNull(sum(e.cost_usd), 0) AS cost_usd,
        1 AS side
    FROM entries AS e FINAL
    WHERE e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
        AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
        AND toDate(e.start_time) IN {days:Array(Date)}
        AND (empty({tenants:Array(String)}) OR e.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR e.model IN {models:Array(String)})
    GROUP BY bucket, tenant, model, rest
    UNION ALL
    SELECT
        u.day AS bucket,
        u.tenant AS tenant,
        u.model AS model,
        cityHash64(u.user_id, u.customer, u.service) AS rest,
        toInt64(sum(u.calls)) AS calls,
        toInt64(sum(u.failed_calls)) AS failed_calls,
        toInt64(sum(u.unpriced_calls)) AS unpriced_calls,
        sum(u.input_tokens) AS input_tokens,
        sum(u.output_tokens) AS output_tokens,
        sum(u.cache_read_tokens) AS cache_read_tokens,
        ifNull(sum(u.cost_usd), 0) AS cost_usd,
        -1 AS side
    FROM rollup_users_daily AS u FINAL
    WHERE u.day IN {days:Array(Date)}
        AND (empty({tenants:Array(String)}) OR u.tenant IN {tenants:Array(String)})
        AND (empty({models:Array(String)}) OR u.model IN {models:Array(String)})
    GROUP BY bucket, tenant, model, rest
) AS s
GROUP BY bucket, tenant, model, rest
HAVING place > 0
ORDER BY bucket_s, tenant, model
LIMIT {rows:UInt64}
