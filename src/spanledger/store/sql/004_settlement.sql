-- What was restated, how far the upkeep has come, and the rollups.

-- Which call an observation was settled into, on the leg that takes it back: "trace id/span id".
ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD COLUMN IF NOT EXISTS settled_into String DEFAULT '' CODEC(ZSTD(1));

-- When a row came into this table, by the engine's clock: what the upkeep has not seen yet. It is
-- known_at only in order of arrival; after an outage or a repair, old rows arrive late. Rows from
-- before count as new, so that what was booked twice until now is settled.
ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD COLUMN IF NOT EXISTS stored_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
    CODEC(Delta(8), ZSTD(1));
ALTER TABLE spanledger.entries{local}{on_cluster} MATERIALIZE COLUMN stored_at SETTINGS mutations_sync = 2;
ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_stored_at stored_at TYPE minmax GRANULARITY 1;

-- One conversation and one answer are found among all calls without reading them: FINAL reads every
-- column that is asked for before it filters (measured: half a minute for one of 10 M calls).
ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_conversation conversation_id TYPE bloom_filter(0.01) GRANULARITY 1;
ALTER TABLE spanledger.entries{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- The present form of every call that was restated, one row a span: the columns of its latest leg.
-- calls > 0: this is the call now; calls < 0: the span is no call of its own any more. Nothing is
-- here that entries does not say; it exists because a view that has to find the latest of many
-- legs reads everything (measured: 0.7 s for one trace among 3 M calls).
CREATE TABLE IF NOT EXISTS spanledger.restated{local}{on_cluster}
ENGINE = {replicated}ReplacingMergeTree(state)
PARTITION BY toYYYYMM(start_time)
PRIMARY KEY (tenant, start_time)
ORDER BY (tenant, start_time, trace_id, span_id)
EMPTY AS SELECT * EXCEPT stored_at, toUInt64(0) AS state FROM spanledger.entries{local};
ALTER TABLE spanledger.restated{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_trace lower(hex(trace_id)) TYPE bloom_filter(0.001) GRANULARITY 1;
ALTER TABLE spanledger.restated{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_conversation conversation_id TYPE bloom_filter(0.01) GRANULARITY 1;
ALTER TABLE spanledger.restated{local}{on_cluster}
    ADD INDEX IF NOT EXISTS by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1;

-- Moments that the upkeep keeps: how far it has come, and from when on it counts live.
CREATE TABLE IF NOT EXISTS spanledger.upkeep{on_cluster}
(
    name LowCardinality(String),
    moment DateTime64(9, 'UTC'),
    version DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC')
)
ENGINE = {replicated}ReplacingMergeTree({everywhere upkeep, }version)
ORDER BY name;

-- The calls of an hour, summed over every dimension of low cardinality. A bucket is recomputed
-- whole from the ledger and replaced by its version; never added to, because a retried insert would
-- count twice. What a recomputed bucket no longer has is replaced by a row of no calls.
CREATE TABLE IF NOT EXISTS spanledger.rollup_hourly{local}{on_cluster}
(
    hour DateTime('UTC') CODEC(Delta(4), ZSTD(1)),
    tenant LowCardinality(String),
    service LowCardinality(String),
    environment LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    operation LowCardinality(String),
    customer LowCardinality(String),
    team LowCardinality(String),
    project LowCardinality(String),
    feature LowCardinality(String),
    agent LowCardinality(String),
    workflow LowCardinality(String),
    api_key_alias LowCardinality(String),
    service_tier LowCardinality(String),
    region LowCardinality(String),
    status LowCardinality(String),
    cost_class LowCardinality(String),
    unpriced_reason LowCardinality(String),
    calls Int64,
    input_tokens Int64,
    output_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    reasoning_tokens Int64,
    cost_usd Nullable(Decimal(38, 18)),
    cost_low_usd Nullable(Decimal(38, 18)),
    cost_high_usd Nullable(Decimal(38, 18)),
    list_cost_usd Nullable(Decimal(38, 18)),
    duration_ms Float64,
    first_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    last_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
PRIMARY KEY (hour, tenant)
ORDER BY (
    hour, tenant, service, environment, provider, model, operation, customer, team, project,
    feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
    unpriced_reason
);

-- The same by day (UTC), made of the hours.
CREATE TABLE IF NOT EXISTS spanledger.rollup_daily{local}{on_cluster}
(
    day Date,
    tenant LowCardinality(String),
    service LowCardinality(String),
    environment LowCardinality(String),
    provider LowCardinality(String),
    model LowCardinality(String),
    operation LowCardinality(String),
    customer LowCardinality(String),
    team LowCardinality(String),
    project LowCardinality(String),
    feature LowCardinality(String),
    agent LowCardinality(String),
    workflow LowCardinality(String),
    api_key_alias LowCardinality(String),
    service_tier LowCardinality(String),
    region LowCardinality(String),
    status LowCardinality(String),
    cost_class LowCardinality(String),
    unpriced_reason LowCardinality(String),
    calls Int64,
    input_tokens Int64,
    output_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    reasoning_tokens Int64,
    cost_usd Nullable(Decimal(38, 18)),
    cost_low_usd Nullable(Decimal(38, 18)),
    cost_high_usd Nullable(Decimal(38, 18)),
    list_cost_usd Nullable(Decimal(38, 18)),
    duration_ms Float64,
    first_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    last_call DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    version UInt64 CODEC(Delta(8), ZSTD(1))
)
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
PRIMARY KEY (day, tenant)
ORDER BY (
    day, tenant, service, environment, provider, model, operation, customer, team, project,
    feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
    unpriced_reason
);
