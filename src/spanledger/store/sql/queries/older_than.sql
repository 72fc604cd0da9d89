-- How many rows of the ledger are from before a moment.
SELECT count() AS entries
FROM spanledger.entries
WHERE start_time < fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
