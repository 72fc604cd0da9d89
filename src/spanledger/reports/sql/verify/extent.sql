-- From when to when the ledger reaches, in nanoseconds: its entries and its sums by day. No row
-- where there is nothing.
SELECT min(first_ns) AS first_ns, max(end_ns) AS end_ns
FROM
(
    SELECT
        toUnixTimestamp64Nano(min(e.start_time)) AS first_ns,
        toUnixTimestamp64Nano(max(e.start_time)) + 1 AS end_ns
    FROM entries AS e
    HAVING count() > 0
    UNION ALL
    SELECT
        toInt64(toUnixTimestamp(toDateTime(min(d.day), 'UTC'))) * 1000000000 AS first_ns,
        toInt64(toUnixTimestamp(toDateTime(max(d.day) + 1, 'UTC'))) * 1000000000 AS end_ns
    FROM rollup_daily AS d
    HAVING count() > 0
)
HAVING count() > 0
