-- Whole legs of the given corrections.
SELECT * EXCEPT stored_at
FROM spanledger.entries FINAL
WHERE kind = 'restatement'
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND run IN {runs:Array(String)}
