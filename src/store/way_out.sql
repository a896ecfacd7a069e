-- Version 5. The way out: order within a subject, conversations, digests, and each attempt.
ALTER TABLE delivery ADD COLUMN handled_by TEXT;            -- the version of our logic that routed it last
ALTER TABLE delivery ADD COLUMN durable_us INTEGER;         -- from proven to durable; NULL where it is not known
ALTER TABLE dispatch ADD COLUMN channel TEXT NOT NULL DEFAULT ''; -- that a rule chose; '' is the sink's own
ALTER TABLE dispatch ADD COLUMN subject TEXT;               -- its source and what it is filed under; order holds within
ALTER TABLE dispatch ADD COLUMN behind INTEGER NOT NULL DEFAULT 0; -- 1: another of its subject goes first
ALTER TABLE dispatch ADD COLUMN digest TEXT;                -- told in one message with the others of this name
ALTER TABLE dispatch ADD COLUMN edge_ms INTEGER;            -- when the desk began to show it

DROP INDEX dispatch_identity;
CREATE UNIQUE INDEX dispatch_identity ON dispatch (event, sink, channel);
CREATE INDEX dispatch_subject ON dispatch (sink, subject, id) WHERE state IN ('due', 'leased') AND subject IS NOT NULL;
-- What may go, apart from what is behind: however much that is, it is not looked through.
DROP INDEX dispatch_due;
CREATE INDEX dispatch_due ON dispatch (sink, behind, id, next_ms) WHERE state = 'due';
CREATE INDEX dispatch_digest ON dispatch (sink, digest, channel, next_ms) WHERE state = 'due' AND digest IS NOT NULL;

-- What is owed already keeps the order of its subject, too.
UPDATE dispatch SET subject = (
        SELECT delivery.source || ' ' || event.subject FROM event JOIN delivery ON delivery.id = event.delivery
        WHERE event.id = dispatch.event)
    WHERE state IN ('due', 'leased');
UPDATE dispatch SET behind = 1 WHERE state IN ('due', 'leased') AND subject IS NOT NULL AND EXISTS (
    SELECT 1 FROM dispatch AS first INDEXED BY dispatch_subject
    WHERE first.sink = dispatch.sink AND first.subject = dispatch.subject AND first.state IN ('due', 'leased')
      AND first.subject IS NOT NULL AND first.id < dispatch.id);

-- One row per attempt, the latest hundred of a dispatch.
CREATE TABLE attempt (
    dispatch INTEGER NOT NULL REFERENCES dispatch (id) ON DELETE CASCADE,
    number   INTEGER NOT NULL,
    began_ms INTEGER NOT NULL,
    took_ms  INTEGER NOT NULL,
    outcome  TEXT    NOT NULL CHECK (outcome IN ('done', 'skipped', 'retry', 'dead')),
    answer   TEXT,
    PRIMARY KEY (dispatch, number)
) STRICT, WITHOUT ROWID;

-- What a sink has begun to tell about a subject, so that what follows joins it.
CREATE TABLE conversation (
    sink       TEXT    NOT NULL,
    source     TEXT    NOT NULL,             -- two sources may call different things the same
    subject    TEXT    NOT NULL,
    asked      TEXT    NOT NULL,             -- the channel that a rule chose; '' is the sink's own
    channel    TEXT    NOT NULL,             -- the destination's id of it
    ts         TEXT    NOT NULL,             -- the destination's id of the first message
    last       TEXT    NOT NULL,             -- the references of what joined last
    state      TEXT    NOT NULL,             -- the sink's own
    touched_ms INTEGER NOT NULL,
    PRIMARY KEY (sink, source, subject, asked)
) STRICT, WITHOUT ROWID;

-- How the last run of a kind ended on a branch, so that the first good one after a bad one can be told as such.
CREATE TABLE run (
    source  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    what    TEXT    NOT NULL,                -- the workflow
    number  INTEGER NOT NULL,                -- 0 where runs are not numbered
    kind    TEXT    NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (source, subject, what)
) STRICT, WITHOUT ROWID;

-- Which branch belongs to which open pull request.
CREATE TABLE branch (
    source  TEXT    NOT NULL,
    name    TEXT    NOT NULL,                -- owner/name@branch
    subject TEXT    NOT NULL,
    seen_ms INTEGER NOT NULL,
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;
