-- How far the upkeep has come, and the seal.
SELECT toString(u.name) AS name, toUnixTimestamp64Nano(u.moment) AS moment_ns
FROM upkeep AS u FINAL
WHERE u.name IN (
    'rolled_stored_at', 'rolled_until', 'sealed_before', 'settled_stored_at', 'users_rolled_until'
)
