-- A moment that the upkeep keeps under a name; no row where it has none yet.
SELECT toUnixTimestamp64Nano(moment) AS moment_ns FROM spanledger.upkeep FINAL WHERE name = {name:String}
