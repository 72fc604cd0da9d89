-- A piece of what was booked and has a cost: charges, and the legs of every correction. Legs carry
-- the time of the call that they correct, so over any range their sum is what the calls cost now.
-- Of the entries themselves, not of the view calls: that shows only what is left of them.
SELECT
    e.kind AS kind,
    e.run AS run,
    e.leg AS leg,
    e.reason AS reason,
    e.tenant AS tenant,
    lower(hex(e.trace_id)) AS trace_id,
    lower(hex(e.span_id)) AS span_id,
    e.start_time AS start_time,
    e.service AS service,
    e.environment AS environment,
    e.provider AS provider,
    e.model AS model,
    e.operation AS operation,
    e.user_id AS user_id,
    e.customer AS customer,
    e.team AS team,
    e.project AS project,
    e.feature AS feature,
    e.conversation_id AS conversation_id,
    e.agent AS agent,
    e.workflow AS workflow,
    e.api_key_alias AS api_key_alias,
    e.service_tier AS service_tier,
    e.region AS region,
    e.status AS status,
    e.cost_usd AS cost_usd,
    e.list_cost_usd AS list_cost_usd,
    e.cost_class AS cost_class,
    e.lines AS lines,
    e.price_book AS price_book,
    e.known_at AS known_at
FROM entries AS e FINAL
WHERE e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
    AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    AND e.cost_usd IS NOT NULL
ORDER BY e.start_time, e.tenant, e.trace_id, e.span_id, e.kind, e.run, e.leg
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
