-- The sums by hour, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_hourly{on_cluster} AS spanledger.rollup_hourly{local}
ENGINE = Distributed({cluster}, spanledger, rollup_hourly{local}, sipHash64(hour));
