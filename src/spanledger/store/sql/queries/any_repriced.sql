-- Whether any call of some hours was priced anew: most often none was, and this tells it quickly.
SELECT 1 AS found
FROM spanledger.entries
WHERE kind = 'restatement'
    AND reason = {reason:String}
    AND tenant IN {tenants:Array(String)}
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
    AND toStartOfHour(start_time) IN {hours:Array(DateTime('UTC'))}
LIMIT 1
