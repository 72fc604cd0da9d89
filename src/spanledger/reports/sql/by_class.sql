-- How sure the ledger is of the money, one row for each class.
SELECT c.cost_class, count() AS calls, sum(c.cost_usd) AS cost_usd
FROM calls AS c
WHERE c.start_time >= {start:DateTime64(9, 'UTC')} AND c.start_time < {end:DateTime64(9, 'UTC')}
GROUP BY cost_class
ORDER BY cost_usd DESC NULLS LAST, cost_class
