-- The views have the columns of PostgreSQL's, and data that is not JSON has a column of its own: one
-- such event made `data ->> '…'` fail for every query that met it. And a table to see whether there
-- is room.

-- Filled and emptied again to see whether there is room, once a write has failed for lack of it.
CREATE TABLE probe (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    padding BLOB NOT NULL
) STRICT;

DROP VIEW events;
DROP VIEW transactions;
DROP VIEW surface;

-- Every event and every invalidation, in order of (topic, seq) if asked to. `data` is JSON text,
-- byte for byte as it was sent; data that is not JSON is in `data_binary`, and `content_type` says
-- what it is. `invalidated_by` is the transaction that says that this one was wrong.
CREATE VIEW events AS
SELECT
    t.name AS topic,
    e.seq,
    e."transaction",
    e.last,
    strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
    || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
    e.key,
    CASE WHEN e.key IS NOT NULL THEN coalesce(e.hash, lower(hex(e.digest))) END AS hash,
    e.type,
    e.content_type,
    CASE WHEN e.content_type IS NULL THEN e.data END AS data,
    CASE WHEN e.content_type IS NOT NULL THEN e.data END AS data_binary,
    e.metadata,
    e.prev,
    e.invalidates,
    e.reason,
    i.by_transaction AS invalidated_by
FROM topic AS t
INNER JOIN event AS e ON t.id = e.topic
LEFT JOIN invalidation AS i ON e.topic = i.topic AND e."transaction" = i."transaction";

-- Every transaction: its events are those of seq first_seq to last_seq.
CREATE VIEW transactions AS
SELECT
    t.name AS topic,
    e."transaction",
    min(e.seq) AS first_seq,
    max(e.seq) AS last_seq,
    count(*) AS events,
    strftime('%Y-%m-%dT%H:%M:%S', min(e.recorded_at) / 1000000, 'unixepoch')
    || printf('.%06dZ', min(e.recorded_at) % 1000000) AS recorded_at,
    max(e.invalidates) AS invalidates,
    i.by_transaction AS invalidated_by
FROM topic AS t
INNER JOIN event AS e ON t.id = e.topic
LEFT JOIN invalidation AS i ON e.topic = i.topic AND e."transaction" = i."transaction"
GROUP BY e.topic, e."transaction";

-- The newest standing event of every key, exact at the head: `latest` says where each key's
-- chain begins up to the fold, the log says it for the events since, and the chain is followed
-- down to the first event that stands. Cheap while the fold is not far behind, and for one key.
-- (CROSS JOIN keeps SQLite to the order that is written: topics before their unfolded events,
-- keys before their chains.)
CREATE VIEW surface AS
WITH unfolded (topic, key, seq) AS MATERIALIZED (
    SELECT e.topic, e.key, max(e.seq)
    FROM topic AS t
    LEFT JOIN fold AS f ON t.id = f.topic
    CROSS JOIN event AS e ON t.id = e.topic AND e.seq > coalesce(f.seq, -1)
    WHERE e.key IS NOT NULL
    GROUP BY e.topic, e.key
),

newest (name, topic, key, seq) AS (
    SELECT t.name, l.topic, l.key, coalesce(u.seq, l.newest)
    FROM topic AS t
    INNER JOIN latest AS l ON t.id = l.topic
    LEFT JOIN unfolded AS u ON l.topic = u.topic AND l.key = u.key
    UNION ALL
    SELECT t.name, u.topic, u.key, u.seq
    FROM unfolded AS u
    INNER JOIN topic AS t ON u.topic = t.id
    WHERE NOT EXISTS (SELECT 1 FROM latest AS l WHERE l.topic = u.topic AND l.key = u.key)
)

SELECT
    n.name AS topic,
    n.key,
    e.seq,
    e."transaction",
    strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
    || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
    coalesce(e.hash, lower(hex(e.digest))) AS hash,
    e.type,
    e.content_type,
    CASE WHEN e.content_type IS NULL THEN e.data END AS data,
    CASE WHEN e.content_type IS NOT NULL THEN e.data END AS data_binary,
    e.metadata
FROM newest AS n
CROSS JOIN event AS e ON n.topic = e.topic AND e.seq = (
    WITH RECURSIVE chain (seq, prev, stands) AS (
        SELECT v.seq, v.prev, i.by_seq IS NULL
        FROM event AS v
        LEFT JOIN invalidation AS i ON v.topic = i.topic AND v."transaction" = i."transaction"
        WHERE v.topic = n.topic AND v.seq = n.seq
        UNION ALL
        SELECT v.seq, v.prev, i.by_seq IS NULL
        FROM chain AS c
        INNER JOIN event AS v ON v.topic = n.topic AND c.prev = v.seq
        LEFT JOIN invalidation AS i ON v.topic = i.topic AND v."transaction" = i."transaction"
        WHERE NOT c.stands
    )

    SELECT seq FROM chain WHERE stands
);
