-- Remove sums by day from before a moment.
ALTER TABLE spanledger.rollup_daily{local}{on_cluster}
DELETE WHERE day < toDate(fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC'))
SETTINGS mutations_sync = 1
