-- price_changes: what changed in the price book since this ledger's first one, one row per price and
-- change: from a newer genai-prices, a newer spanledger or your price files. kind is added, changed
-- or removed. The price is new_usd for `per` units (old_usd for old_per before), or a factor on what
-- other records give; change_ratio is new by old per unit, so 0.5 is half the price (NULL where one
-- of them is not there, or the old one was 0). learned_at is when this ledger saw it, which may be
-- long before or after valid_from, when it began to hold. The first book's prices are no change:
-- they, and every state since, are in the table `prices` under the same names.
CREATE OR REPLACE VIEW spanledger.price_changes{on_cluster} AS
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
WHERE s.learned_at > s.began_at AND s.said != s.said_before;
