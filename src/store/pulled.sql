-- Version 8. What did not come by itself: pulled in from the provider's own interface.
ALTER TABLE delivery ADD COLUMN origin TEXT NOT NULL DEFAULT 'webhook'; -- or 'recovered', 'polled'
ALTER TABLE delivery ADD COLUMN sent_ms INTEGER;            -- when the sender first tried, by the sender's clock

-- How far each place was read where a source's deliveries can be asked for. What a state means is not the store's affair.
CREATE TABLE reached (
    source TEXT NOT NULL,
    place  TEXT NOT NULL,
    state  TEXT NOT NULL,
    PRIMARY KEY (source, place)
) STRICT, WITHOUT ROWID;
