-- Bring the present form of restated spans up to date from their legs: those of the given runs, or
-- all that came in since a moment. May be run any number of times: the latest leg wins. Legs that
-- another of the same correction always follows can be left out.
INSERT INTO spanledger.restated
SELECT
    * EXCEPT stored_at,
    -- By when it was decided, then by the number of the leg; 2020 to 2100 in nanoseconds times four.
    toUInt64(toUnixTimestamp64Nano(known_at) - 1577836800000000000) * 4 + leg - 1 AS state
FROM spanledger.entries FINAL
WHERE kind = 'restatement'
    AND leg >= {first_leg:UInt8}
    AND (
        run IN {runs:Array(String)}
        OR stored_at >= fromUnixTimestamp64Micro({since_us:Int64}, 'UTC')
    )
    AND start_time >= fromUnixTimestamp64Nano({first_ns:Int64}, 'UTC')
    AND start_time <= fromUnixTimestamp64Nano({last_ns:Int64}, 'UTC')
