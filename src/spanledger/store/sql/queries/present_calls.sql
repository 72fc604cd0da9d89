-- Calls as they are booked now, as whole entries: charges that were never restated, and the present
-- form of those that were (see the view calls). Of a stretch of time, of some tenants, providers
-- and models where such are given; a crowded stretch comes in parts, by trace.
SELECT *
FROM
(
    SELECT charge.* EXCEPT stored_at
    FROM spanledger.entries AS charge FINAL
    LEFT ANTI JOIN
    (
        SELECT tenant, start_time, trace_id, span_id
        FROM spanledger.restated
        WHERE start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
            AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
    ) AS later
        ON charge.start_time = later.start_time
        AND charge.trace_id = later.trace_id
        AND sipHash64(charge.tenant, charge.span_id) = sipHash64(later.tenant, later.span_id)
    WHERE charge.kind = 'charge'
        AND charge.start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND charge.start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
    UNION ALL
    SELECT * EXCEPT state
    FROM spanledger.restated FINAL
    WHERE calls > 0
        AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
) AS call
WHERE ({parts:UInt32} = 1 OR cityHash64(trace_id) % {parts:UInt32} = {part:UInt32})
    AND (empty({tenants:Array(String)}) OR tenant IN {tenants:Array(String)})
    AND (empty({providers:Array(String)}) OR provider IN {providers:Array(String)})
    AND (
        empty({models:Array(String)})
        OR model IN {models:Array(String)}
        OR request_model IN {models:Array(String)}
        OR response_model IN {models:Array(String)}
    )
