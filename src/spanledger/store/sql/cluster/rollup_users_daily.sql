-- The sums of users, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_users_daily{on_cluster} AS spanledger.rollup_users_daily{local}
ENGINE = Distributed({cluster}, spanledger, rollup_users_daily{local}, sipHash64(user_id));
