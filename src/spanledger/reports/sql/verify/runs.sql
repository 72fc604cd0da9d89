-- Settlements that took observations back and did not book their call, or the other way round. A
-- settlement is read whole: its legs lie on the times of its observations, so from `since` on they
-- are looked for up to `around` before and after. Corrections of prices have both legs on one span,
-- and are looked at with their spans.
SELECT
    tenant,
    run,
    min(e.start_time) AS first,
    argMin(lower(hex(e.trace_id)), e.start_time) AS trace_id,
    argMin(lower(hex(e.span_id)), e.start_time) AS span_id,
    toInt64(countIf(e.leg = 1)) - toInt64(countIf(e.leg = 4)) AS taken_back,
    toInt64(countIf(e.leg = 2)) - toInt64(countIf(e.leg = 3)) AS booked,
    count() OVER () AS found
FROM entries AS e FINAL
WHERE e.kind = 'restatement'
    AND e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64} - {around_ns:Int64}, 'UTC')
    AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64} + {around_ns:Int64}, 'UTC')
    AND (empty({tenants:Array(String)}) OR e.tenant IN {tenants:Array(String)})
GROUP BY tenant, run
HAVING booked != toInt64(taken_back > 0)
    AND countIf(e.reason = 'repriced') = 0
    AND first >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND first < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND max(e.stored_at) < fromUnixTimestamp64Micro({stored_before_us:Int64}, 'UTC')
    AND (empty({models:Array(String)}) OR countIf(e.model IN {models:Array(String)}) > 0)
ORDER BY first, tenant, run
LIMIT {rows:UInt64}
