-- Version 2. By the hour first: all that is asked is recent, so new entries stay together instead of dirtying a page each.
DROP INDEX delivery_body;
CREATE INDEX delivery_body ON delivery (received_ms / 3600000, body_hash);
