-- Some rows of customers, which have no time, in the order of their names.
SELECT *
FROM customers AS v
ORDER BY v.tenant, v.customer
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
