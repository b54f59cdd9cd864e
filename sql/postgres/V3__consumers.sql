-- Consumers: readers of a topic whose position is kept for them under a name. Only they move it;
-- reading and appending do not touch this table. Topics are named by id, as everywhere; there is no
-- foreign key, because a position is kept only for a topic that the same statement has found.

CREATE TABLE consumer (
    topic bigint NOT NULL,
    name text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- The last event that it has handled; NULL while it has handled none.
    seq bigint CHECK (seq BETWEEN 0 AND 9007199254740991),
    -- Another one after every move, and never given twice, not even to a consumer that is made anew
    -- under an old name: who expects a revision cannot be mistaken about what happened in between.
    revision bigint GENERATED ALWAYS AS IDENTITY,
    -- When it was moved there.
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (topic, name)
)
-- A row is updated in place again and again: room on the page keeps these updates HOT.
WITH (fillfactor = 50);

CREATE VIEW consumers AS
SELECT t.name AS topic, c.name AS consumer, c.seq, c.revision, c.updated_at, t.head_seq,
    greatest(t.head_seq - coalesce(c.seq, -1), 0) AS lag_events,
    round(coalesce(greatest(
        extract(epoch FROM clock_timestamp() - e.recorded_at)::numeric, 0), 0), 3) AS lag_seconds,
    e.recorded_at AS waiting_since
FROM consumer c
JOIN topic t ON t.id = c.topic
LEFT JOIN event e ON e.topic = c.topic AND e.seq = coalesce(c.seq, -1) + 1;
COMMENT ON VIEW consumers IS
    'Every consumer of every topic, and how far behind the topic it is. Order by topic, consumer.';
COMMENT ON COLUMN consumers.seq IS 'The last event that it has handled; NULL for none.';
COMMENT ON COLUMN consumers.revision IS 'Changes with every move; never the same again.';
COMMENT ON COLUMN consumers.updated_at IS 'When it was moved there.';
COMMENT ON COLUMN consumers.lag_events IS 'Events that it has not handled.';
COMMENT ON COLUMN consumers.lag_seconds IS 'For how long the first of them has been there.';
COMMENT ON COLUMN consumers.waiting_since IS 'When the first of them was recorded.';
