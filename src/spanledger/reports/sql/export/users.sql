-- Some rows of users, which have no time, in the order of their names.
SELECT *
FROM users AS v
ORDER BY v.tenant, v.user_id
LIMIT {rows:UInt64} OFFSET {skip:UInt64}
