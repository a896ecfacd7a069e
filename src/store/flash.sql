-- Version 7. What was written to the card, by the day (UTC). Days without a row had nothing to count.
CREATE TABLE flash (
    day           INTEGER PRIMARY KEY,       -- since 1970-01-01; 0 while the clock is plainly wrong
    from_ms       INTEGER NOT NULL,          -- when counting began on that day
    written_bytes INTEGER,                   -- NULL where the kernel does not count
    deliveries    INTEGER NOT NULL,
    payload_bytes INTEGER NOT NULL           -- of bodies, as they were sent
) STRICT;
