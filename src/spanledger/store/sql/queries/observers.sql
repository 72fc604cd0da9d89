-- Who reported the charges of a stretch of time: the services and their instrumentations. Where
-- there is one, two charges of the same id or fingerprint are two calls. (DISTINCT takes twice as
-- long.)
SELECT tenant, service, scope_name
FROM spanledger.entries
WHERE kind = 'charge'
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
GROUP BY tenant, service, scope_name
LIMIT {observers_max:UInt32}
