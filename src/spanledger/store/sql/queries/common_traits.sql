-- Which of the given traits (trace, response id, fingerprint; see fresh_charges) several charges of
-- a stretch of time share. An id or a fingerprint identifies a call only where different observers
-- report it; what very many rows share identifies nothing, and would be read in vain.
SELECT looked_at.2 AS trait
FROM
(
    SELECT
        arrayJoin([
            (0, cityHash64(tenant, trace_id)),
            (1, if(response_id = '', 0, cityHash64(tenant, response_id, 'id'))),
            (1, cityHash64(tenant, service, input_tokens, output_tokens))
        ]) AS looked_at,
        -- Least and greatest of a number cost a fifth of counting different texts.
        cityHash64(service, scope_name) AS observer
    FROM spanledger.entries
    WHERE kind = 'charge'
        AND tenant IN {tenants:Array(String)}
        AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
        AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
)
WHERE looked_at.2 != 0 AND looked_at.2 IN {traits:Array(UInt64)}
GROUP BY looked_at
HAVING count() BETWEEN 2 AND {sharers_max:UInt32}
    AND (looked_at.1 = 0 OR min(observer) != max(observer))
