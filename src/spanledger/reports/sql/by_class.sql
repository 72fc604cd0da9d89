-- How sure the ledger is of the money, one row for each class.
SELECT cost_class, count() AS calls, sum(cost_usd) AS cost_usd
FROM calls
WHERE start_time >= {start:DateTime64(9, 'UTC')} AND start_time < {end:DateTime64(9, 'UTC')}
GROUP BY cost_class
ORDER BY cost_usd DESC NULLS LAST, cost_class
