CREATE DATABASE IF NOT EXISTS spanledger ON CLUSTER 'main'
;

CREATE TABLE IF NOT EXISTS spanledger.schema_migrations ON CLUSTER 'main'
(
    number UInt32,
    name String,
    sha256 String,
    applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplicatedMergeTree('/clickhouse/spanledger/schema_migrations', '{shard}-{replica}')
ORDER BY number
;

-- The ledger: append-only, one row per entry, the columns of ENTRIES_ARROW under the same names.
--
-- Of two deliveries of one entry the earliest known_at wins: ReplacingMergeTree keeps the highest
-- version, therefore the version counts backwards. Sorting key and partition come only from the
-- span and its tenant (never from the clock), so a retry always meets its twin. start_time is part
-- of the key because a retry carries the same one; being first after the tenant it keeps parts
-- apart in time, which is what makes FINAL, `known` and every range of time quick.

CREATE TABLE IF NOT EXISTS spanledger.entries_local ON CLUSTER 'main'
(
    kind LowCardinality(String),
    run LowCardinality(String),
    leg UInt8,
    reason LowCardinality(String),
    tenant LowCardinality(String),
    trace_id FixedString(16),
    span_id FixedString(8),
    parent_span_id FixedString(8),
    start_time DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),
    duration_ns Int64,
    service LowCardinality(String),
    environment LowCardinality(String),
    scope_name LowCardinality(String),
    scope_version LowCardinality(String),
    provider LowCardinality(String),
    request_model LowCardinality(String),
    response_model LowCardinality(String),
    operation LowCardinality(String),
    user_id String CODEC(ZSTD(1)),
    customer LowCardinality(String),
    team LowCardinality(String),
    project LowCardinality(String),
    feature LowCardinality(String),
    conversation_id String CODEC(ZSTD(1)),
    agent LowCardinality(String),
    workflow LowCardinality(String),
    api_key_alias LowCardinality(String),
    service_tier LowCardinality(String),
    response_id String CODEC(ZSTD(1)),
    status LowCardinality(String),
    error_type LowCardinality(String),
    time_to_first_token_ms Nullable(Float64),
    input_tokens Int64,
    output_tokens Int64,
    cache_read_tokens Int64,
    cache_write_tokens Int64,
    cache_write_5m_tokens Int64,
    cache_write_1h_tokens Int64,
    output_reasoning_tokens Int64,
    input_audio_tokens Int64,
    output_audio_tokens Int64,
    cache_audio_read_tokens Int64,
    input_image_tokens Int64,
    output_image_tokens Int64,
    usage Map(LowCardinality(String), Decimal(38, 18)),
    convention LowCardinality(String),
    usage_missing Bool,
    usage_estimated Bool,
    usage_invalid Bool,
    cache_unknown Bool,
    cost_reported_usd Nullable(Decimal(38, 18)),
    attributes Map(LowCardinality(String), String),
    model LowCardinality(String),
    calls Int8,
    cost_usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    cost_low_usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    cost_high_usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    list_cost_usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    cost_class LowCardinality(String),
    unpriced_reason LowCardinality(String),
    lines Array(Tuple(
        unit LowCardinality(String),
        quantity Decimal(38, 18),
        rate_usd Decimal(38, 18),
        per Int64,
        amount_usd Decimal(38, 18),
        price_id LowCardinality(String)
    )) CODEC(ZSTD(1)),
    price_book LowCardinality(String),
    known_at DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(1)),

    version UInt64 MATERIALIZED 18446744073709551615 - toUInt64(toUnixTimestamp64Nano(known_at)),

    -- The views show ids as text; the index is on the same expression, or it would not be used.
    INDEX by_trace lower(hex(trace_id)) TYPE bloom_filter(0.001) GRANULARITY 1,

    -- The last line of defence: a start time out of the window makes a partition nobody asked for.
    CONSTRAINT start_time_in_window CHECK
        start_time >= toDateTime64('2020-01-01 00:00:00', 9, 'UTC')
        AND start_time < toDateTime64('2100-01-01 00:00:00', 9, 'UTC'),
    -- Sums of Decimal(38, 18) wrap without an error above 1e20 USD; no call is dearer than 1e9.
    CONSTRAINT cost_in_bounds CHECK
        ifNull(cost_usd, 0) BETWEEN -1000000000 AND 1000000000
        AND ifNull(cost_low_usd, 0) BETWEEN -1000000000 AND 1000000000
        AND ifNull(cost_high_usd, 0) BETWEEN -1000000000 AND 1000000000
        AND ifNull(list_cost_usd, 0) BETWEEN -1000000000 AND 1000000000
)
ENGINE = ReplicatedReplacingMergeTree(version)
PARTITION BY toYYYYMM(start_time)
PRIMARY KEY (tenant, start_time)
ORDER BY (tenant, start_time, trace_id, span_id, kind, run, leg)
;

-- Emitters that report cached reads but lose cache writes: the cost has bounds, for that part only.

ALTER TABLE spanledger.entries_local ON CLUSTER 'main' ADD COLUMN IF NOT EXISTS cache_write_unknown Bool AFTER cache_unknown
;

-- Where inference ran, as the response says ("us", "eu", "global"): some prices depend on it.
-- Entries from before have an empty text, as those of emitters that do not report it.

ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS region LowCardinality(String) DEFAULT '' AFTER service_tier
;

-- What was restated, how far the upkeep has come, and the rollups.

-- Which call an observation was settled into, on the leg that takes it back: "trace id/span id".
ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS settled_into String DEFAULT '' CODEC(ZSTD(1))
;

-- When a row came into this table, by the engine's clock: what the upkeep has not seen yet. It is
-- known_at only in order of arrival; after an outage or a repair, old rows arrive late. Rows from
-- before count as new, so that what was booked twice until now is settled.
ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD COLUMN IF NOT EXISTS stored_at DateTime64(6, 'UTC') DEFAULT now64(6, 'UTC')
    CODEC(Delta(8), ZSTD(1))
;

ALTER TABLE spanledger.entries_local ON CLUSTER 'main' MATERIALIZE COLUMN stored_at SETTINGS mutations_sync = 2
;

ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_stored_at stored_at TYPE minmax GRANULARITY 1
;

-- One conversation and one answer are found among all calls without reading them: FINAL reads every
-- column that is asked for before it filters (measured: half a minute for one of 10 M calls).
ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_conversation conversation_id TYPE bloom_filter(0.01) GRANULARITY 1
;

ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1
;

-- The present form of every call that was restated, one row a span: the columns of its latest leg.
-- calls > 0: this is the call now; calls < 0: the span is no call of its own any more. Nothing is
-- here that entries does not say; it exists because a view that has to find the latest of many
-- legs reads everything (measured: 0.7 s for one trace among 3 M calls).
CREATE TABLE IF NOT EXISTS spanledger.restated_local ON CLUSTER 'main'
ENGINE = ReplicatedReplacingMergeTree(state)
PARTITION BY toYYYYMM(start_time)
PRIMARY KEY (tenant, start_time)
ORDER BY (tenant, start_time, trace_id, span_id)
EMPTY AS SELECT * EXCEPT stored_at, toUInt64(0) AS state FROM spanledger.entries_local
;

ALTER TABLE spanledger.restated_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_trace lower(hex(trace_id)) TYPE bloom_filter(0.001) GRANULARITY 1
;

ALTER TABLE spanledger.restated_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_conversation conversation_id TYPE bloom_filter(0.01) GRANULARITY 1
;

ALTER TABLE spanledger.restated_local ON CLUSTER 'main'
    ADD INDEX IF NOT EXISTS by_response response_id TYPE bloom_filter(0.01) GRANULARITY 1
;

-- Moments that the upkeep keeps: how far it has come, and from when on it counts live.
CREATE TABLE IF NOT EXISTS spanledger.upkeep ON CLUSTER 'main'
(
    name LowCardinality(String),
    moment DateTime64(9, 'UTC'),
    version DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC')
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/spanledger/upkeep', '{shard}-{replica}', version)
ORDER BY name
;

-- The calls of an hour, summed over every dimension of low cardinality. A bucket is recomputed
-- whole from the ledger and replaced by its version; never added to, because a retried insert would
-- count twice. What a recomputed bucket no longer has is replaced by a row of no calls.
CREATE TABLE IF NOT EXISTS spanledger.rollup_hourly_local ON CLUSTER 'main'
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
ENGINE = ReplicatedReplacingMergeTree(version)
PARTITION BY toYYYYMM(hour)
PRIMARY KEY (hour, tenant)
ORDER BY (
    hour, tenant, service, environment, provider, model, operation, customer, team, project,
    feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
    unpriced_reason
)
;

-- The same by day (UTC), made of the hours.
CREATE TABLE IF NOT EXISTS spanledger.rollup_daily_local ON CLUSTER 'main'
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
ENGINE = ReplicatedReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
PRIMARY KEY (day, tenant)
ORDER BY (
    day, tenant, service, environment, provider, model, operation, customer, team, project,
    feature, agent, workflow, api_key_alias, service_tier, region, status, cost_class,
    unpriced_reason
)
;

-- Every price that this ledger has known, so that any past cost can be explained: rates, factors and
-- contracts of all layers, with the conditions they hold under.
--
-- Append-only, and only what differs from the latest state of a price is added: a price that came
-- or was changed with in_force = true, one that the book has no more with in_force = false and its
-- last figures. What names a price (price_id, provider, model, unit) is unique within a book. With
-- the moment and the book it is the sorting key, so rows that are inserted again are the same rows.
-- A price's state as of a moment is its row with the latest learned_at up to then.

CREATE TABLE IF NOT EXISTS spanledger.prices ON CLUSTER 'main'
(
    price_id String CODEC(ZSTD(1)),
    layer LowCardinality(String),
    provider LowCardinality(String),
    model String CODEC(ZSTD(1)),
    unit LowCardinality(String),
    usd Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    per UInt64 CODEC(ZSTD(1)),
    factor Nullable(Decimal(38, 18)) CODEC(ZSTD(1)),
    context String CODEC(ZSTD(1)),
    input_above Int64 CODEC(ZSTD(1)),
    input_up_to Nullable(Int64) CODEC(ZSTD(1)),
    hours String CODEC(ZSTD(1)),
    valid_from Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    valid_until Nullable(DateTime64(9, 'UTC')) CODEC(ZSTD(1)),
    known_at DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    reason String CODEC(ZSTD(1)),
    source String CODEC(ZSTD(1)),
    book LowCardinality(String),
    learned_at DateTime64(9, 'UTC') CODEC(ZSTD(1)),
    in_force Bool
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/spanledger/prices', '{shard}-{replica}')
ORDER BY (price_id, provider, model, unit, learned_at, book, in_force)
;

-- The sums of users by day: over all users of a month the calls take seconds, these do not. And
-- months of sums become one part each.

-- The calls of a day (UTC), summed by user, customer, service and model. By day, because a user has
-- few calls an hour: by hour this would be hardly smaller than the calls. Recomputed whole and
-- replaced by version, as the other rollups are. It knows people, so it goes when the calls go and
-- not with the sums; therefore it can always be made again from the calls.
CREATE TABLE IF NOT EXISTS spanledger.rollup_users_daily_local ON CLUSTER 'main'
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
ENGINE = ReplicatedReplacingMergeTree(version)
PARTITION BY toYYYYMM(day)
PRIMARY KEY (day, tenant, user_id)
ORDER BY (day, tenant, user_id, customer, service, model)
-- A month that is one part is read without looking for replaced rows, in less than half the time
-- (measured with 6 M rows). New parts come once a day, so it becomes one an hour after the last.
SETTINGS min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1
;

-- The same for the other sums: a month by feature was read in a quarter of the time (10 M calls). To
-- those by hour new parts come every hour, so they are given ten minutes.
ALTER TABLE spanledger.rollup_hourly_local ON CLUSTER 'main' MODIFY SETTING
    min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1
;

ALTER TABLE spanledger.rollup_daily_local ON CLUSTER 'main' MODIFY SETTING
    min_age_to_force_merge_seconds = 3600, min_age_to_force_merge_on_partition_only = 1
;

-- A part of 55 columns has some 150 streams, and the engine gives each two buffers of a mebibyte
-- whatever is in it: an insert took 315 MiB and a small merge 390, now 35 and 70 (measured).
ALTER TABLE spanledger.entries_local ON CLUSTER 'main'
    MODIFY SETTING min_columns_to_activate_adaptive_write_buffer = 10
;

ALTER TABLE spanledger.restated_local ON CLUSTER 'main'
    MODIFY SETTING min_columns_to_activate_adaptive_write_buffer = 10
;

-- The whole ledger, on a cluster: by trace, so that a retry meets its twin wherever it arrives.

CREATE OR REPLACE TABLE spanledger.entries ON CLUSTER 'main' AS spanledger.entries_local
ENGINE = Distributed('main', spanledger, entries_local, sipHash64(trace_id))
;

-- The present form of restated calls, on a cluster: by trace, as the entries it is made of.

CREATE OR REPLACE TABLE spanledger.restated ON CLUSTER 'main' AS spanledger.restated_local
ENGINE = Distributed('main', spanledger, restated_local, sipHash64(trace_id))
;

-- The sums by day, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_daily ON CLUSTER 'main' AS spanledger.rollup_daily_local
ENGINE = Distributed('main', spanledger, rollup_daily_local, sipHash64(day))
;

-- The sums by hour, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_hourly ON CLUSTER 'main' AS spanledger.rollup_hourly_local
ENGINE = Distributed('main', spanledger, rollup_hourly_local, sipHash64(hour))
;

-- The sums of users, on a cluster: a bucket and the one that replaces it meet on one shard.

CREATE OR REPLACE TABLE spanledger.rollup_users_daily ON CLUSTER 'main' AS spanledger.rollup_users_daily_local
ENGINE = Distributed('main', spanledger, rollup_users_daily_local, sipHash64(user_id))
;

-- calls: one row per model call with its current cost. The public SQL API; docs/sql.md describes
-- each column.
--
-- A call is a charge that was never restated, or the latest form of one that was: spans that turned
-- out to be second observations of a call are left out, what was priced anew shows the new cost.
-- FINAL leaves one row per delivered charge. What was restated is found by the key of the span,
-- never by grouping calls (measured: one trace in 35 ms among 10 M calls instead of 8 s); the key is
-- folded into 32 bytes, because the join is then twice as quick.
-- Both halves name all columns: with one list around both, planning a query takes a fifth longer.
-- cost_usd is NULL where the call is unpriced, never 0: a plain sum() then skips it.

CREATE OR REPLACE VIEW spanledger.calls ON CLUSTER 'main' AS
SELECT
    lower(hex(charge.trace_id)) AS trace_id,
    lower(hex(charge.span_id)) AS span_id,
    lower(hex(charge.parent_span_id)) AS parent_span_id,
    charge.start_time AS start_time,
    charge.duration_ns / 1000000 AS duration_ms,
    charge.time_to_first_token_ms AS time_to_first_token_ms,
    charge.tenant AS tenant,
    charge.service AS service,
    charge.environment AS environment,
    charge.provider AS provider,
    charge.request_model AS request_model,
    charge.response_model AS response_model,
    charge.model AS model,
    charge.operation AS operation,
    charge.user_id AS user_id,
    charge.customer AS customer,
    charge.team AS team,
    charge.project AS project,
    charge.feature AS feature,
    charge.conversation_id AS conversation_id,
    charge.agent AS agent,
    charge.workflow AS workflow,
    charge.api_key_alias AS api_key_alias,
    charge.service_tier AS service_tier,
    charge.region AS region,
    charge.response_id AS response_id,
    charge.status AS status,
    charge.error_type AS error_type,
    charge.input_tokens AS input_tokens,
    charge.output_tokens AS output_tokens,
    charge.cache_read_tokens AS cache_read_tokens,
    charge.cache_write_tokens AS cache_write_tokens,
    charge.cache_write_5m_tokens AS cache_write_5m_tokens,
    charge.cache_write_1h_tokens AS cache_write_1h_tokens,
    charge.output_reasoning_tokens AS reasoning_tokens,
    charge.input_audio_tokens AS input_audio_tokens,
    charge.output_audio_tokens AS output_audio_tokens,
    charge.usage AS usage,
    charge.convention AS convention,
    charge.usage_missing AS usage_missing,
    charge.usage_estimated AS usage_estimated,
    charge.usage_invalid AS usage_invalid,
    charge.cache_unknown AS cache_unknown,
    charge.cache_write_unknown AS cache_write_unknown,
    charge.cost_usd AS cost_usd,
    charge.cost_low_usd AS cost_low_usd,
    charge.cost_high_usd AS cost_high_usd,
    charge.list_cost_usd AS list_cost_usd,
    charge.cost_reported_usd AS cost_reported_usd,
    charge.cost_class AS cost_class,
    charge.unpriced_reason AS unpriced_reason,
    charge.lines AS lines,
    charge.price_book AS price_book,
    charge.known_at AS known_at,
    charge.attributes AS attributes
FROM spanledger.entries AS charge FINAL
LEFT ANTI JOIN spanledger.restated AS later
    ON charge.start_time = later.start_time
    AND charge.trace_id = later.trace_id
    AND sipHash64(charge.tenant, charge.span_id) = sipHash64(later.tenant, later.span_id)
WHERE charge.kind = 'charge'
UNION ALL
SELECT
    lower(hex(restated.trace_id)) AS trace_id,
    lower(hex(restated.span_id)) AS span_id,
    lower(hex(restated.parent_span_id)) AS parent_span_id,
    restated.start_time AS start_time,
    restated.duration_ns / 1000000 AS duration_ms,
    restated.time_to_first_token_ms AS time_to_first_token_ms,
    restated.tenant AS tenant,
    restated.service AS service,
    restated.environment AS environment,
    restated.provider AS provider,
    restated.request_model AS request_model,
    restated.response_model AS response_model,
    restated.model AS model,
    restated.operation AS operation,
    restated.user_id AS user_id,
    restated.customer AS customer,
    restated.team AS team,
    restated.project AS project,
    restated.feature AS feature,
    restated.conversation_id AS conversation_id,
    restated.agent AS agent,
    restated.workflow AS workflow,
    restated.api_key_alias AS api_key_alias,
    restated.service_tier AS service_tier,
    restated.region AS region,
    restated.response_id AS response_id,
    restated.status AS status,
    restated.error_type AS error_type,
    restated.input_tokens AS input_tokens,
    restated.output_tokens AS output_tokens,
    restated.cache_read_tokens AS cache_read_tokens,
    restated.cache_write_tokens AS cache_write_tokens,
    restated.cache_write_5m_tokens AS cache_write_5m_tokens,
    restated.cache_write_1h_tokens AS cache_write_1h_tokens,
    restated.output_reasoning_tokens AS reasoning_tokens,
    restated.input_audio_tokens AS input_audio_tokens,
    restated.output_audio_tokens AS output_audio_tokens,
    restated.usage AS usage,
    restated.convention AS convention,
    restated.usage_missing AS usage_missing,
    restated.usage_estimated AS usage_estimated,
    restated.usage_invalid AS usage_invalid,
    restated.cache_unknown AS cache_unknown,
    restated.cache_write_unknown AS cache_write_unknown,
    restated.cost_usd AS cost_usd,
    restated.cost_low_usd AS cost_low_usd,
    restated.cost_high_usd AS cost_high_usd,
    restated.list_cost_usd AS list_cost_usd,
    restated.cost_reported_usd AS cost_reported_usd,
    restated.cost_class AS cost_class,
    restated.unpriced_reason AS unpriced_reason,
    restated.lines AS lines,
    restated.price_book AS price_book,
    restated.known_at AS known_at,
    restated.attributes AS attributes
FROM spanledger.restated AS restated FINAL
WHERE restated.calls > 0
;

-- calls_as_of: the view calls as it was at a moment:
-- SELECT ... FROM calls_as_of(known_at = '2026-11-01 00:00:00'). Later deliveries, corrections and
-- prices are not seen. It reads every correction since, so it is slower than calls.
CREATE OR REPLACE VIEW spanledger.calls_as_of ON CLUSTER 'main' AS
SELECT
    lower(hex(call.trace_id)) AS trace_id,
    lower(hex(call.span_id)) AS span_id,
    lower(hex(call.parent_span_id)) AS parent_span_id,
    call.start_time AS start_time,
    call.duration_ns / 1000000 AS duration_ms,
    call.time_to_first_token_ms AS time_to_first_token_ms,
    call.tenant AS tenant,
    call.service AS service,
    call.environment AS environment,
    call.provider AS provider,
    call.request_model AS request_model,
    call.response_model AS response_model,
    call.model AS model,
    call.operation AS operation,
    call.user_id AS user_id,
    call.customer AS customer,
    call.team AS team,
    call.project AS project,
    call.feature AS feature,
    call.conversation_id AS conversation_id,
    call.agent AS agent,
    call.workflow AS workflow,
    call.api_key_alias AS api_key_alias,
    call.service_tier AS service_tier,
    call.region AS region,
    call.response_id AS response_id,
    call.status AS status,
    call.error_type AS error_type,
    call.input_tokens AS input_tokens,
    call.output_tokens AS output_tokens,
    call.cache_read_tokens AS cache_read_tokens,
    call.cache_write_tokens AS cache_write_tokens,
    call.cache_write_5m_tokens AS cache_write_5m_tokens,
    call.cache_write_1h_tokens AS cache_write_1h_tokens,
    call.output_reasoning_tokens AS reasoning_tokens,
    call.input_audio_tokens AS input_audio_tokens,
    call.output_audio_tokens AS output_audio_tokens,
    call.usage AS usage,
    call.convention AS convention,
    call.usage_missing AS usage_missing,
    call.usage_estimated AS usage_estimated,
    call.usage_invalid AS usage_invalid,
    call.cache_unknown AS cache_unknown,
    call.cache_write_unknown AS cache_write_unknown,
    call.cost_usd AS cost_usd,
    call.cost_low_usd AS cost_low_usd,
    call.cost_high_usd AS cost_high_usd,
    call.list_cost_usd AS list_cost_usd,
    call.cost_reported_usd AS cost_reported_usd,
    call.cost_class AS cost_class,
    call.unpriced_reason AS unpriced_reason,
    call.lines AS lines,
    call.price_book AS price_book,
    call.known_at AS known_at,
    call.attributes AS attributes
FROM
(
    SELECT charge.* EXCEPT stored_at
    FROM spanledger.entries AS charge FINAL
    LEFT ANTI JOIN
    (
        SELECT tenant, start_time, trace_id, span_id
        FROM spanledger.entries
        WHERE kind = 'restatement' AND known_at <= {known_at:DateTime64(9, 'UTC')}
    ) AS later
        ON charge.start_time = later.start_time
        AND charge.trace_id = later.trace_id
        AND sipHash64(charge.tenant, charge.span_id) = sipHash64(later.tenant, later.span_id)
    WHERE charge.kind = 'charge' AND charge.known_at <= {known_at:DateTime64(9, 'UTC')}
    UNION ALL
    SELECT *
    FROM
    (
        SELECT * EXCEPT stored_at
        FROM spanledger.entries FINAL
        WHERE kind = 'restatement' AND known_at <= {known_at:DateTime64(9, 'UTC')}
        ORDER BY known_at DESC, leg DESC
        LIMIT 1 BY tenant, start_time, trace_id, span_id
    )
    WHERE calls > 0
) AS call
;

-- price_changes: what changed in the price book since this ledger's first one, one row per price and
-- change: from a newer genai-prices, a newer spanledger or your price files. kind is added, changed
-- or removed. The price is new_usd for `per` units (old_usd for old_per before), or a factor on what
-- other records give; change_ratio is new by old per unit, so 0.5 is half the price (NULL where one
-- of them is not there, or the old one was 0). learned_at is when this ledger saw it, which may be
-- long before or after valid_from, when it began to hold. The first book's prices are no change:
-- they, and every state since, are in the table `prices` under the same names.
CREATE OR REPLACE VIEW spanledger.price_changes ON CLUSTER 'main' AS
SELECT
    s.learned_at AS learned_at,
    s.book AS book,
    multiIf(NOT s.in_force, 'removed', s.was_in_force, 'changed', 'added') AS kind,
    s.layer AS layer,
    s.provider AS provider,
    s.model AS model,
    s.unit AS unit,
    s.context AS context,
    s.input_above AS input_above,
    s.input_up_to AS input_up_to,
    s.hours AS hours,
    if(s.was_in_force, s.usd_before, NULL) AS old_usd,
    if(s.in_force, s.usd, NULL) AS new_usd,
    s.per AS per,
    if(s.was_in_force, s.per_before, s.per) AS old_per,
    if(s.was_in_force, s.factor_before, NULL) AS old_factor,
    if(s.in_force, s.factor, NULL) AS new_factor,
    ifNull(
        toFloat64(new_usd) / per / nullIf(toFloat64(old_usd) / old_per, 0),
        toFloat64(new_factor) / nullIf(toFloat64(old_factor), 0)
    ) AS change_ratio,
    s.valid_from AS valid_from,
    s.valid_until AS valid_until,
    s.reason AS reason,
    s.source AS source,
    s.price_id AS price_id
FROM
(
    SELECT
        *,
        min(p.learned_at) OVER () AS began_at,
        lagInFrame(p.in_force) OVER earlier AS was_in_force,
        lagInFrame(p.usd) OVER earlier AS usd_before,
        lagInFrame(p.per) OVER earlier AS per_before,
        lagInFrame(p.factor) OVER earlier AS factor_before,
        -- What makes a price another one; a reworded reason does not.
        toString((
            p.in_force, p.layer, p.usd, p.per, p.factor, p.context, p.input_above, p.input_up_to,
            p.hours, p.valid_from, p.valid_until
        )) AS said,
        lagInFrame(said) OVER earlier AS said_before
    FROM spanledger.prices AS p FINAL
    WINDOW earlier AS (
        PARTITION BY p.price_id, p.provider, p.model, p.unit
        ORDER BY p.learned_at, p.book, p.in_force
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
    )
) AS s
WHERE s.learned_at > s.began_at AND s.said != s.said_before
;

-- restatements: every correction of the ledger: when, why, how many entries it took back and what it
-- changed. Reasons: settled (observations of one call were booked as one), settled_anew (one more
-- came, the former booking was taken back), repriced (priced anew with today's prices).
CREATE OR REPLACE VIEW spanledger.restatements ON CLUSTER 'main' AS
SELECT
    e.run AS run,
    e.reason AS reason,
    e.tenant AS tenant,
    min(e.start_time) AS start_time,
    countIf(e.leg IN (1, 3)) AS entries_taken_back,
    countIf(e.leg IN (2, 4)) AS entries_booked,
    sum(e.calls) AS calls_change,
    sumIf(e.cost_usd, e.leg IN (1, 3)) AS taken_back_usd,
    sumIf(e.cost_usd, e.leg IN (2, 4)) AS booked_usd,
    ifNull(sum(e.cost_usd), 0) AS cost_change_usd,
    max(e.known_at) AS known_at
FROM spanledger.entries AS e FINAL
WHERE e.kind = 'restatement'
GROUP BY e.tenant, e.run, e.reason
;

-- conversations: one row per conversation: what it cost, how long it went, which models it used. Made
-- from the calls, so it goes back as far as they are kept.
CREATE OR REPLACE VIEW spanledger.conversations ON CLUSTER 'main' AS
SELECT
    c.tenant,
    c.conversation_id,
    any(c.user_id) AS user_id,
    any(c.customer) AS customer,
    groupUniqArray(10)(c.model) AS models,
    count() AS calls,
    countIf(c.status = 'error') AS failed_calls,
    countIf(c.cost_class = 'unpriced') AS unpriced_calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cost_usd) AS cost_usd,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.conversation_id != ''
GROUP BY c.tenant, c.conversation_id
;

-- costs_hourly: what was spent in each hour (UTC), by every dimension of low cardinality. A sum over
-- it equals the same sum over calls, to the last digit.
--
-- Hours that are over come from the rollup, which is recomputed whole when something changes in
-- them; the hour under way, and what is ahead of the clock, is summed from calls at this moment.
CREATE OR REPLACE VIEW spanledger.costs_hourly ON CLUSTER 'main' AS
SELECT
    hour,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms, first_call, last_call
FROM spanledger.rollup_hourly FINAL
WHERE hour < (SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until') AND calls > 0
UNION ALL
SELECT
    toStartOfHour(c.start_time) AS hour,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    toInt64(count()) AS calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cache_write_tokens) AS cache_write_tokens,
    sum(c.reasoning_tokens) AS reasoning_tokens,
    sum(c.cost_usd) AS cost_usd,
    sum(c.cost_low_usd) AS cost_low_usd,
    sum(c.cost_high_usd) AS cost_high_usd,
    sum(c.list_cost_usd) AS list_cost_usd,
    sum(c.duration_ms) AS duration_ms,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.start_time >= (SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until')
GROUP BY hour, tenant, service, environment, provider, model, operation,
    customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
    status, cost_class, unpriced_reason
;

-- users_daily: what was spent on behalf of each user on each day (UTC), by customer, service and
-- model. A sum over it equals the same sum over calls, to the last digit; it goes back as far as they
-- are kept. user_id is '' where the app did not say.
--
-- Days that are over come from the rollup, today is summed from calls at this moment.
CREATE OR REPLACE VIEW spanledger.users_daily ON CLUSTER 'main' AS
SELECT
    day, tenant, user_id, customer, service, model, calls, failed_calls, unpriced_calls,
    input_tokens, output_tokens, cache_read_tokens, cost_usd, first_call, last_call
FROM spanledger.rollup_users_daily FINAL
WHERE day < toDate((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'users_rolled_until')) AND calls > 0
UNION ALL
SELECT
    toDate(c.start_time) AS day,
    tenant, user_id, customer, service, model,
    toInt64(count()) AS calls,
    toInt64(countIf(c.status = 'error')) AS failed_calls,
    toInt64(countIf(c.cost_class = 'unpriced')) AS unpriced_calls,
    sum(c.input_tokens) AS input_tokens,
    sum(c.output_tokens) AS output_tokens,
    sum(c.cache_read_tokens) AS cache_read_tokens,
    sum(c.cost_usd) AS cost_usd,
    min(c.start_time) AS first_call,
    max(c.start_time) AS last_call
FROM spanledger.calls AS c
WHERE c.start_time >= toStartOfDay((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'users_rolled_until'))
GROUP BY day, tenant, user_id, customer, service, model
;

-- costs_daily: what was spent on each day (UTC), by every dimension of low cardinality. A sum over it
-- equals the same sum over calls, to the last digit; it outlives the calls themselves.
--
-- Days that are over come from the rollup, today from costs_hourly.
CREATE OR REPLACE VIEW spanledger.costs_daily ON CLUSTER 'main' AS
SELECT
    day,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    calls, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens,
    cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, duration_ms, first_call, last_call
FROM spanledger.rollup_daily FINAL
WHERE day < toDate((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until')) AND calls > 0
UNION ALL
SELECT
    toDate(h.hour) AS day,
    tenant, service, environment, provider, model, operation, customer, team, project, feature,
    agent, workflow, api_key_alias, service_tier, region, status, cost_class, unpriced_reason,
    sum(h.calls) AS calls,
    sum(h.input_tokens) AS input_tokens,
    sum(h.output_tokens) AS output_tokens,
    sum(h.cache_read_tokens) AS cache_read_tokens,
    sum(h.cache_write_tokens) AS cache_write_tokens,
    sum(h.reasoning_tokens) AS reasoning_tokens,
    sum(h.cost_usd) AS cost_usd,
    sum(h.cost_low_usd) AS cost_low_usd,
    sum(h.cost_high_usd) AS cost_high_usd,
    sum(h.list_cost_usd) AS list_cost_usd,
    sum(h.duration_ms) AS duration_ms,
    minIf(h.first_call, h.calls > 0) AS first_call,
    maxIf(h.last_call, h.calls > 0) AS last_call
FROM spanledger.costs_hourly AS h
WHERE h.hour >= toStartOfDay((SELECT max(moment) FROM spanledger.upkeep WHERE name = 'rolled_until'))
GROUP BY day, tenant, service, environment, provider, model, operation,
    customer, team, project, feature, agent, workflow, api_key_alias, service_tier, region,
    status, cost_class, unpriced_reason
;

-- users: one row per user with all that was spent on their behalf. It goes back as far as calls are
-- kept.
CREATE OR REPLACE VIEW spanledger.users ON CLUSTER 'main' AS
SELECT
    d.tenant,
    d.user_id,
    any(d.customer) AS customer,
    groupUniqArray(10)(d.model) AS models,
    sum(d.calls) AS calls,
    sum(d.failed_calls) AS failed_calls,
    sum(d.unpriced_calls) AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.users_daily AS d
WHERE d.user_id != ''
GROUP BY d.tenant, d.user_id
;

-- customers: one row per customer with all that was spent for it, from the first call to now.
CREATE OR REPLACE VIEW spanledger.customers ON CLUSTER 'main' AS
SELECT
    d.tenant, d.customer,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
GROUP BY d.tenant, d.customer
;

-- features: one row per feature with all that was spent for it, from the first call to now.
CREATE OR REPLACE VIEW spanledger.features ON CLUSTER 'main' AS
SELECT
    d.tenant, d.feature,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
GROUP BY d.tenant, d.feature
;

-- keys: one row per API key (its alias) with all that was spent through it, from the first call to
-- now.
CREATE OR REPLACE VIEW spanledger.keys ON CLUSTER 'main' AS
SELECT
    d.tenant, d.api_key_alias,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
GROUP BY d.tenant, d.api_key_alias
;

-- services: one row per service and environment with all that was spent there, from the first call
-- to now.
CREATE OR REPLACE VIEW spanledger.services ON CLUSTER 'main' AS
SELECT
    d.tenant, d.service, d.environment,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
GROUP BY d.tenant, d.service, d.environment
;

-- unpriced_models: one row per model whose calls have no price yet, and why. They are in no sum of
-- money until the price book knows them.
CREATE OR REPLACE VIEW spanledger.unpriced_models ON CLUSTER 'main' AS
SELECT
    d.tenant, d.provider, d.model, d.unpriced_reason,
    sum(d.calls) AS calls,
    sumIf(d.calls, d.status = 'error') AS failed_calls,
    sumIf(d.calls, d.cost_class = 'unpriced') AS unpriced_calls,
    sum(d.input_tokens) AS input_tokens,
    sum(d.cache_read_tokens) AS cache_read_tokens,
    sum(d.output_tokens) AS output_tokens,
    sum(d.cost_usd) AS cost_usd,
    min(d.first_call) AS first_call,
    max(d.last_call) AS last_call
FROM spanledger.costs_daily AS d
WHERE d.cost_class = 'unpriced'
GROUP BY d.tenant, d.provider, d.model, d.unpriced_reason
;
