-- The sums of users by day: over all users of a month the calls take seconds, these do not. And
-- months of sums become one part each.

-- The calls of a day (UTC), summed by user, customer, service and model. By day, because a user has
-- few calls an hour: by hour this would be hardly smaller than the calls. Recomputed whole and
-- replaced by version, as the other rollups are. It knows people, so it goes when the calls go and
-- not with the sums; therefore it can always be made again from the calls.
CREATE TABLE IF NOT EXISTS spanledger.rollup_users_daily{local}{on_cluster}
(
    day Date,
    tenant LowCardinality(String),
    user_id String CODEC(ZSTD(1)),
    customer LowCardinality(String),
    service LowCardinality(String),
    model LowCardinality(String),
    calls Int64,
    failed_calls Int64,
    unpriced_calls Int64,
    input_tokens Int64,
    output_tokens Int64,
    cache_read_tokens Int64,
    cost_usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    first_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    last_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
PRIMARY KEY (day, tenant, user_id)
ORDER BY (day, tenant, user_id, customer, service, model)
-- A month that is one part is read without looking for replaced rows, in less than half the time
-- (measured with 6 M rows). New parts come once a day, so it becomes one an hour after the last.
SETTINGS min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;

-- The same for the other sums: a month by feature was read in a quarter of the time (10 M calls). To
-- those by hour new parts come every hour, so they are given ten minutes.
ALTER TABLE spanledger.rollup_hourly{local}{on_cluster} MODIFY SETTING
    min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1;
ALTER TABLE spanledger.rollup_daily{local}{on_cluster} MODIFY SETTING
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1;
