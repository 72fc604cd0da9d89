-- Some of the rates and factors that the ledger has ever known, each once.
SELECT DISTINCT
    p.price_id AS price_id, p.layer AS layer, p.usd AS usd, toInt64(p.per) AS per, p.factor AS factor
FROM prices AS p
ORDER BY price_id, layer, usd, per, factor
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
