-- Some rows of services, which have no time, in the order of their names.
SELECT *
FROM services AS v
ORDER BY v.tenant, v.service, v.environment
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
