-- Who claims the upkeep of the ledger at this moment, the owner first.
SELECT
    toInt64(splitByChar(' ', toString(name))[2]) AS since_ns,
    splitByChar(' ', toString(name))[3] AS owner
FROM spanledger.upkeep FINAL
WHERE startsWith(name, 'claim ') AND moment > now64(9, 'UTC')
ORDER BY since_ns, owner
