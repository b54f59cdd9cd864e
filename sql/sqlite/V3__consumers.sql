-- Consumers: readers of a topic whose position is kept for them under a name. Only they move it;
-- reading and appending do not touch this table.

CREATE TABLE consumer (
    -- Another one after every move (a row is replaced, not updated), and never given twice, not even
    -- to a consumer that is made anew under an old name: who expects a revision cannot be mistaken
    -- about what happened in between.
    revision INTEGER PRIMARY KEY AUTOINCREMENT,
    topic INTEGER NOT NULL REFERENCES topic (id),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- The last event that it has handled; NULL while it has handled none.
    seq INTEGER CHECK (seq BETWEEN 0 AND 9007199254740991),
    -- When it was moved there.
    updated_at INTEGER NOT NULL,
    UNIQUE (topic, name)
) STRICT;

-- Every consumer of every topic, and how far behind the topic it is: events that it has not handled,
-- and since when, and for how many seconds, the first of them has been there.
CREATE VIEW consumers AS
SELECT
    t.name AS topic,
    c.name AS consumer,
    c.seq,
    c.revision,
    strftime('%Y-%m-%dT%H:%M:%S', c.updated_at / 1000000, 'unixepoch')
    || printf('.%06dZ', c.updated_at % 1000000) AS updated_at,
    n.seq AS head_seq,
    max(n.seq - coalesce(c.seq, -1), 0) AS lag_events,
    coalesce(
        round(max((julianday('now') - 2440587.5) * 86400.0 - e.recorded_at / 1e6, 0.0), 3), 0.0
    ) AS lag_seconds,
    strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
    || printf('.%06dZ', e.recorded_at % 1000000) AS waiting_since
FROM consumer AS c
INNER JOIN topic AS t ON c.topic = t.id
LEFT JOIN event AS n
    ON c.topic = n.topic AND n.seq = (SELECT max(m.seq) FROM event AS m WHERE m.topic = c.topic)
LEFT JOIN event AS e ON c.topic = e.topic AND e.seq = coalesce(c.seq, -1) + 1;
