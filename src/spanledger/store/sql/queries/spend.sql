-- What was spent today, this month (both UTC) and in the last 24 hours, as of {now}.
-- One row; a window without priced calls is 0. Unpriced calls add nothing.

SELECT
    ifNull(sumIf(cost_usd, start_time >= toStartOfDay({now:DateTime64(9, 'UTC')})
        AND start_time < toStartOfDay({now:DateTime64(9, 'UTC')}) + INTERVAL 1 DAY), 0) AS today,
    ifNull(sumIf(cost_usd, start_time >= toStartOfMonth({now:DateTime64(9, 'UTC')})
        AND start_time < toStartOfMonth({now:DateTime64(9, 'UTC')}) + INTERVAL 1 MONTH), 0) AS month,
    ifNull(sumIf(cost_usd, start_time > {now:DateTime64(9, 'UTC')} - INTERVAL 24 HOUR
        AND start_time <= {now:DateTime64(9, 'UTC')}), 0) AS last_24h
FROM spanledger.calls
WHERE start_time >= least(
    toDateTime64(toStartOfMonth({now:DateTime64(9, 'UTC')}), 9, 'UTC'),
    {now:DateTime64(9, 'UTC')} - INTERVAL 24 HOUR
)
