-- Whether the ledger is whole: parts that the engine set aside at start because they were damaged
-- (after a power loss a table opens without an error, its rows silently gone), and its size. On a cluster: of the server that is asked.

SELECT
    (
        SELECT count() FROM system.detached_parts
        WHERE database = 'spanledger' AND table IN ('entries', 'entries_local')
    ) AS detached_parts,
    (
        SELECT sum(rows) FROM system.parts
        WHERE active AND database = 'spanledger' AND table IN ('entries', 'entries_local')
    ) AS stored_rows,
    (
        SELECT sum(bytes_on_disk) FROM system.parts
        WHERE active AND database = 'spanledger' AND table IN ('entries', 'entries_local')
    ) AS stored_bytes
