-- The sums by day, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_daily{on_cluster} AS spanledger.rollup_daily{local}
ENGINE = Distributed({cluster}, spanledger, rollup_daily{local}, sipHash64(day));
