-- Where inference ran, as the response says ("us", "eu", "global"): some prices depend on it.
-- Entries from before have an empty text, as those of emitters that do not report it.

ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) DEFAULT '' AFTER service_tier;
