-- Remove sums by hour from before a moment.
ALTER TABLE spanledger.rollup_hourly{local}{on_cluster}
DELETE WHERE hour < fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
SETTINGS mutations_sync = 1
