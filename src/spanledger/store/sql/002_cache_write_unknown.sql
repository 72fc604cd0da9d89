-- Emitters that report cached reads but lose cache writes: the cost has bounds, for that part only.

ALTER TABLE spanledger.entries{local}{on_cluster} ADD COLUMN IF NOT EXISTS cache_write_unknown Bool AFTER cache_unknown;
