-- A part of 55 columns has some 150 streams, and the engine gives each two buffers of a mebibyte
-- whatever is in it: an insert took 315 MiB and a small merge 390, now 35 and 70 (measured).
ALTER TABLE spanledger.entries{local}{on_cluster}
    MODIFY SETTING min_columns_to_activate_adaptive_write_buffer = 10;
ALTER TABLE spanledger.restated{local}{on_cluster}
    MODIFY SETTING min_columns_to_activate_adaptive_write_buffer = 10;
