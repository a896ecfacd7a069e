-- Version 3. What other providers' requests need: the path and query that a signature may cover, and the sender's own id
-- of one event among several. And who was refused.
ALTER TABLE body ADD COLUMN target TEXT NOT NULL DEFAULT '';
ALTER TABLE event ADD COLUMN own_id TEXT;
CREATE INDEX event_own_id ON event (own_id) WHERE own_id IS NOT NULL;

-- One row per source and address; both may be empty where they are not known. No more than a thousand: what is older is
-- added up in the row whose peer is 'others'.
CREATE TABLE refusal (
    source   TEXT    NOT NULL,
    peer     TEXT    NOT NULL,
    status   INTEGER NOT NULL,               -- of the last one
    why      TEXT    NOT NULL,               -- of the last one
    count    INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    PRIMARY KEY (source, peer)
) STRICT, WITHOUT ROWID;
