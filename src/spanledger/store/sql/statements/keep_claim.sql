-- Claim the upkeep of the ledger for some seconds, or claim it for longer under the same name. A
-- new name carries the moment of the claim by the store's clock, so whoever came first stays first.
INSERT INTO spanledger.upkeep (name, moment)
SELECT
    concat('claim ', if({since_ns:Int64} = 0, toUnixTimestamp64Nano(now64(9)), {since_ns:Int64}), ' ', {owner:String}),
    now64(9, 'UTC') + toIntervalMillisecond({lasts_ms:Int64})
