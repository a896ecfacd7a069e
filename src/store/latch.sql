-- Version 6. What stays lit on the desk: a row while it does. An id is never used again, so that whoever puts one out by it
-- cannot mean the one that took its place.
CREATE TABLE latch (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    cue      TEXT    NOT NULL,
    source   TEXT    NOT NULL,               -- two sources may call different things the same
    subject  TEXT    NOT NULL,               -- '' where the event does not say
    what     TEXT    NOT NULL,               -- which of the subject's checks: the workflow
    since_ms INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX latch_identity ON latch (cue, source, subject, what);
