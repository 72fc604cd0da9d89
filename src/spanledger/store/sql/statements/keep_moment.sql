-- Keep a moment of the upkeep under its name; the last one kept counts.
INSERT INTO spanledger.upkeep (name, moment)
SELECT {name:String}, fromUnixTimestamp64Nano({moment_ns:Int64}, 'UTC')
