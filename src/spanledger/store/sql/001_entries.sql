-- The ledger: append-only, one row per entry, the columns of ENTRIES_ARROW under the same names.
--
-- Of two deliveries of one entry the earliest known_at wins: ReplacingMergeTree keeps the highest
-- version, therefore the version counts backwards. Sorting key and partition come only from the
-- span and its tenant (never from the clock), so a retry always meets its twin. start_time is part
-- of the key because a retry carries the same one; being first after the tenant it keeps parts
-- apart in time, which is what makes FINAL, `known` and every range of time quick.

CREATE TABLE IF NOT EXISTS spanledger.entries{local}{on_cluster}
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
ENGINE = {replicated}ReplacingMergeTree(version)
PARTITION BY toYYYYMM(start_time)
PRIMARY KEY (tenant, start_time)
ORDER BY (tenant, start_time, trace_id, span_id, kind, run, leg);
