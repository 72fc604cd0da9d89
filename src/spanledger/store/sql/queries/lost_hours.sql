-- The last hour of some months of whose calls the sums know more than are left; no row where there
-- is none.
SELECT toUnixTimestamp(max(lost.hour)) AS hour_s, count() AS hours, sum(lost.rolled - lost.there) AS calls
FROM
(
    SELECT hour, sum(rolled) AS rolled, sum(there) AS there
    FROM
    (
        SELECT hour, calls AS rolled, toInt64(0) AS there
        FROM spanledger.rollup_hourly FINAL
        WHERE toYYYYMM(hour) IN {months:Array(UInt32)}
            AND hour >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
            AND hour < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
        UNION ALL
        SELECT toStartOfHour(start_time) AS hour, toInt64(0) AS rolled, toInt64(count()) AS there
        FROM spanledger.calls
        WHERE toYYYYMM(start_time) IN {months:Array(UInt32)}
            AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
            AND start_time < fromUnixTimestamp64Nano({end_ns:Int64}, 'UTC')
        GROUP BY hour
    )
    GROUP BY hour
    HAVING rolled > there
) AS lost
HAVING hours > 0
