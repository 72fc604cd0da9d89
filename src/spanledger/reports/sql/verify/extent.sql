-- From when to when the ledger reaches, in nanoseconds: its entries and its sums by day; nothing
-- where there are none.
SELECT minOrNull(first_ns) AS first_ns, maxOrNull(end_ns) AS end_ns
FROM
(
    SELECT
        toUnixTimestamp64Nano(minOrNull(e.start_time)) AS first_ns,
        toUnixTimestamp64Nano(maxOrNull(e.start_time)) + 1 AS end_ns
    FROM entries AS e
    UNION ALL
    SELECT
        toInt64(toUnixTimestamp(toDateTime(minOrNull(d.day), 'UTC'))) * 1000000000 AS first_ns,
        toInt64(toUnixTimestamp(toDateTime(maxOrNull(d.day) + 1, 'UTC'))) * 1000000000 AS end_ns
    FROM rollup_daily AS d
)
