-- The days before a moment whose sums by hour and by day are not the same: one of them was damaged.
SELECT
    toUnixTimestamp(toDateTime(day, 'UTC')) AS day_s,
    toYYYYMM(day) AS month,
    sum(calls_by_hour) AS calls_by_hour,
    sum(calls_by_day) AS calls_by_day
FROM
(
    SELECT toDate(hour) AS day, calls AS calls_by_hour, 0 AS calls_by_day,
        input_tokens + output_tokens AS tokens, ifNull(cost_usd, 0) AS cost
    FROM spanledger.rollup_hourly FINAL
    WHERE hour < fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC') AND calls > 0
    UNION ALL
    SELECT day, 0 AS calls_by_hour, calls AS calls_by_day,
        -(input_tokens + output_tokens) AS tokens, -ifNull(cost_usd, 0) AS cost
    FROM spanledger.rollup_daily FINAL
    WHERE day < toDate(fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')) AND calls > 0
)
GROUP BY day
HAVING calls_by_hour != calls_by_day OR sum(tokens) != 0 OR sum(cost) != 0
ORDER BY day
