-- The moments at which charges came into the table, from one on, and how many: an insert has one.
-- How many tells whether a moment that was looked at before has got more since.
SELECT toUnixTimestamp64Micro(stored_at) AS stored_at_us, count() AS charges
FROM spanledger.entries
WHERE kind = 'charge' AND stored_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
GROUP BY stored_at_us
ORDER BY stored_at_us
LIMIT {moments_max:UInt32}
