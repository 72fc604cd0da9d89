-- Whole legs by which prices were corrected, of the given spans (hexadecimal; the caller compares
-- the whole key).
SELECT * EXCEPT stored_at
FROM spanledger.entries FINAL
WHERE kind = 'restatement'
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND reason = {reason:String}
    AND lower(hex(span_id)) IN {spans:Array(String)}
