-- The hours of a stretch of time, how many entries each has and when the last of them came into the
-- table: later than the sums were made, and they do not have it yet.
SELECT
    toUnixTimestamp(hour) AS hour_s,
    sum(entries) AS entries,
    max(stored_us) AS stored_us
FROM
(
    SELECT
        toStartOfHour(e.start_time) AS hour,
        count() AS entries,
        toUnixTimestamp64Micro(max(e.stored_at)) AS stored_us
    FROM entries AS e
    WHERE e.start_time >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
        AND e.start_time < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    GROUP BY hour
    UNION ALL
    SELECT h.hour AS hour, toUInt64(0) AS entries, toInt64(0) AS stored_us
    FROM rollup_hourly AS h
    WHERE h.hour >= fromUnixTimestamp64Nano({since_ns:Int64}, 'UTC')
        AND h.hour < fromUnixTimestamp64Nano({until_ns:Int64}, 'UTC')
    GROUP BY hour
)
GROUP BY hour_s
ORDER BY hour_s
