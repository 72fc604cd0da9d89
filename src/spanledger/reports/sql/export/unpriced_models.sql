-- Some rows of unpriced_models, which have no time, in the order of their names.
SELECT *
FROM unpriced_models AS v
ORDER BY v.tenant, v.provider, v.model, v.unpriced_reason
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
