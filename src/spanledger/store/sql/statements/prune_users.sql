-- Remove sums of users from before a moment (00:00 UTC): they know people and go as the calls go.
ALTER TABLE spanledger.rollup_users_daily{local}{on_cluster}
DELETE WHERE day < toDate(fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC'))
SETTINGS mutations_sync = 1
