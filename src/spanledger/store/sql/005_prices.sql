-- Every price that this ledger has known, so that any past cost can be explained: rates, factors and
-- contracts of all layers, with the conditions they hold under.
--
-- Append-only, and only what differs from the latest state of a price is added: a price that came
-- or was changed with in_force = true, one that the book has no more with in_force = false and its
-- last figures. What names a price (price_id, provider, model, unit) is unique within a book. With
-- the moment and the book it is the sorting key, so rows that are inserted again are the same rows.
-- A price's state as of a moment is its row with the latest learned_at up to then.

CREATE TABLE IF NOT EXISTS spanledger.prices{on_cluster}
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
ENGINE = {replicated}ReplacingMergeTree({everywhere prices})
ORDER BY (price_id, provider, model, unit, learned_at, book, in_force);
