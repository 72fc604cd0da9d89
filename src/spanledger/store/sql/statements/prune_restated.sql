-- Remove the present form of corrected calls from before a moment; as prune_entries.
ALTER TABLE spanledger.restated{local}{on_cluster}
DELETE WHERE start_time < fromUnixTimestamp64Nano({before_ns:Int64}, 'UTC')
SETTINGS mutations_sync = 1
