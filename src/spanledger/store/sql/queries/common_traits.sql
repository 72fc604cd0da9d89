-- Which of the given traits (traces, response ids, fingerprints; see fresh_charges) several charges
-- of a stretch of time share. A trace says something where one span is in the other, or different
-- instrumentations reported them; an id or a fingerprint where different observers did. What very
-- many rows share identifies nothing, and would be read in vain. (The least and the greatest of a
-- number cost a fifth of counting different texts.)
WITH charges AS
(
    SELECT tenant, trace_id, span_id, parent_span_id, service, scope_name, response_id, input_tokens, output_tokens
    FROM spanledger.entries
    WHERE kind = 'charge'
        AND tenant IN {tenants:Array(String)}
        AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
        AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
        AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
)
SELECT trait
FROM
(
    SELECT cityHash64(tenant, trace_id) AS trait
    FROM charges
    WHERE trait IN {traces:Array(UInt64)}
    GROUP BY trait
    HAVING count() BETWEEN 2 AND {sharers_max:UInt32}
        AND (min(cityHash64(scope_name)) != max(cityHash64(scope_name))
            OR hasAny(groupArray(span_id), groupArray(parent_span_id)))
)
UNION ALL
SELECT trait
FROM
(
    SELECT cityHash64(tenant, response_id, 'id') AS trait
    FROM charges
    WHERE response_id != '' AND trait IN {answers:Array(UInt64)}
    GROUP BY trait
    HAVING count() BETWEEN 2 AND {sharers_max:UInt32}
        AND min(cityHash64(service, scope_name)) != max(cityHash64(service, scope_name))
)
UNION ALL
SELECT trait
FROM
(
    SELECT cityHash64(tenant, service, input_tokens, output_tokens) AS trait
    FROM charges
    WHERE trait IN {prints:Array(UInt64)}
    GROUP BY trait
    HAVING count() BETWEEN 2 AND {sharers_max:UInt32}
        AND min(cityHash64(scope_name)) != max(cityHash64(scope_name))
)
