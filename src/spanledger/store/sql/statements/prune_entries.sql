-- Remove single calls from before a moment, with their corrections. The seal goes before this.
ALTER TABLE spanledger.entries{local}{on_cluster}
DELETE WHERE start_time < fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
SETTINGS mutations_sync = 1
