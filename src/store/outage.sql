-- Version 4. Sinks that are left alone because they keep failing: a row while it lasts.
CREATE TABLE outage (
    sink     TEXT    PRIMARY KEY,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER NOT NULL,               -- the next attempt, one that decides
    wait_ms  INTEGER NOT NULL,               -- how long it is left alone this time
    reason   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
