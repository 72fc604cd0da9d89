-- Some rows of keys, which have no time, in the order of their names.
SELECT *
FROM keys AS v
ORDER BY v.tenant, v.api_key_alias
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
