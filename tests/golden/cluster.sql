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

-- The whole ledger, on a cluster: by trace, so that a retry meets its twin wherever it arrives.

CREATE OR REPLACE TABLE spanledger.entries ON CLUSTER 'main' AS spanledger.entries_local
ENGINE = Distributed('main', spanledger, entries_local, sipHash64(trace_id))
;

-- calls: one row per model call with its current cost. The public SQL API; docs/sql.md describes
-- each column.
--
-- FINAL leaves one row per delivered call. Restatements, once there are any, join here by the same
-- span key (tenant, start_time, trace_id, span_id) and add their differences to the charge.
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
WHERE charge.kind = 'charge'
;
