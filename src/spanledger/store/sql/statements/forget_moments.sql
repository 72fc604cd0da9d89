-- Leave of each moment of the upkeep only the last one kept: one that was set back counts at once.
OPTIMIZE TABLE spanledger.upkeep{on_cluster} FINAL
