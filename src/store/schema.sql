-- The first schema. Times are milliseconds since the epoch. Migrations only ever append (migrate.rs).

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Which boot wrote what, so that a clock step can be corrected (moment.rs). One row.
CREATE TABLE boot (
    id             INTEGER PRIMARY KEY CHECK (id = 1),
    boot_id        TEXT    NOT NULL,
    offset_ms      INTEGER NOT NULL, -- wall time minus time since boot
    first_delivery INTEGER NOT NULL  -- the first id that this boot wrote
) STRICT;

-- What came in. The row is small, because its status is rewritten; what is never rewritten stands in `body`.
CREATE TABLE delivery (
    id           INTEGER PRIMARY KEY,
    source       TEXT    NOT NULL,
    provider     TEXT    NOT NULL,
    event_type   TEXT    NOT NULL,
    delivery_id  TEXT,                       -- the sender's own id, where it has one
    body_hash    INTEGER NOT NULL,           -- first 64 bits of the body's SHA-256
    received_ms  INTEGER NOT NULL,
    processed_ms INTEGER,
    stage        TEXT    NOT NULL CHECK (stage IN ('new', 'routing', 'routed')),
    claims       INTEGER NOT NULL DEFAULT 0, -- by a router, not yet settled
    status       TEXT    NOT NULL CHECK (status IN ('unprocessed', 'retrying', 'processed', 'skipped', 'dead_letter')),
    peer         TEXT    NOT NULL,
    verified_by  INTEGER NOT NULL,           -- which of the source's secrets, from 1
    notes        TEXT    NOT NULL DEFAULT '[]'
) STRICT;
CREATE UNIQUE INDEX delivery_identity ON delivery (source, delivery_id, body_hash);
CREATE INDEX delivery_body ON delivery (body_hash, received_ms);
-- A partial index serves only a query that repeats its condition to the letter.
CREATE INDEX delivery_new ON delivery (id) WHERE stage = 'new';
CREATE INDEX delivery_routing ON delivery (id) WHERE stage = 'routing';
CREATE INDEX delivery_status ON delivery (status);

-- The bytes that were proven, compressed, never rewritten.
CREATE TABLE body (
    delivery  INTEGER PRIMARY KEY REFERENCES delivery (id) ON DELETE CASCADE,
    sha256    BLOB    NOT NULL,
    headers   TEXT    NOT NULL,              -- [["name","value"],…]; bytes that are not UTF-8 as {"base16":"…"}
    raw_bytes INTEGER NOT NULL,
    codec     TEXT    NOT NULL CHECK (codec IN ('raw', 'zstd')),
    bytes     BLOB    NOT NULL
) STRICT;

-- What it means.
CREATE TABLE event (
    id         INTEGER PRIMARY KEY,
    delivery   INTEGER NOT NULL REFERENCES delivery (id) ON DELETE CASCADE,
    position   INTEGER NOT NULL,             -- within the delivery, from 0
    replay     INTEGER NOT NULL DEFAULT 0,
    kind       TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    url        TEXT,
    severity   TEXT    NOT NULL CHECK (severity IN ('info', 'success', 'warning', 'failure')),
    subject    TEXT,
    extra      TEXT    NOT NULL,
    rules      TEXT    NOT NULL              -- names of the rules that matched, a JSON list
) STRICT;
CREATE UNIQUE INDEX event_identity ON event (delivery, position, replay);
CREATE INDEX event_kind ON event (kind, id);

-- One event owed to one sink.
CREATE TABLE dispatch (
    id         INTEGER PRIMARY KEY,
    event      INTEGER NOT NULL REFERENCES event (id) ON DELETE CASCADE,
    delivery   INTEGER NOT NULL,
    sink       TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('due', 'leased', 'done', 'skipped', 'dead')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    claims     INTEGER NOT NULL DEFAULT 0,   -- since it was last settled: a crash loop shows here
    failures   INTEGER NOT NULL DEFAULT 0,   -- in a row, for the back-off
    tried_ms   INTEGER NOT NULL DEFAULT 0,   -- time spent trying, waits included, the machine's off time not
    next_ms    INTEGER NOT NULL,
    cue        TEXT,
    last_error TEXT,
    receipt    TEXT,
    settled_ms INTEGER
) STRICT;
CREATE UNIQUE INDEX dispatch_identity ON dispatch (event, sink);
CREATE INDEX dispatch_delivery ON dispatch (delivery);
-- Oldest first, also after a pause: ordered by id, and the wait is read from the index itself.
CREATE INDEX dispatch_due ON dispatch (sink, id, next_ms) WHERE state = 'due';
CREATE INDEX dispatch_leased ON dispatch (sink) WHERE state = 'leased';
CREATE INDEX dispatch_dead ON dispatch (sink) WHERE state = 'dead';
