-- Some rows of features, which have no time, in the order of their names.
SELECT *
FROM features AS v
ORDER BY v.tenant, v.feature
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
