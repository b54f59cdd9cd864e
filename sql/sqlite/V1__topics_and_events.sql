-- Tidelog's schema for SQLite. Read what you like, with any tool, while the service runs: the
-- views `topics`, `events`, `transactions` and `surface` are made for people and stay as they
-- are. The tables are the service's own; only it writes them.
--
-- Positions (seq, transaction, epoch, lines) are below 2^53. Times are microseconds since
-- 1970-01-01T00:00:00Z. The order of columns matters: what is large comes last, so that reading
-- the rest of a row does not touch its overflow pages.

PRAGMA application_id = 1414087749; -- "TIDE"

-- A topic. Where it ends is what its newest event says; appending compares that, and the epoch.
CREATE TABLE topic (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    -- Counts the writers that the topic has had; only the newest may append.
    epoch INTEGER NOT NULL CHECK (epoch >= 1),
    -- Peaks of the Merkle tree over the first `leaves` events: 32 bytes for each set bit of `leaves`.
    -- Brought forward now and then, never by all events: the log has the leaves since.
    leaves INTEGER NOT NULL DEFAULT 0 CHECK (leaves BETWEEN 0 AND 9007199254740992),
    frontier BLOB NOT NULL DEFAULT x'' CHECK (length(frontier) % 32 = 0),
    CHECK ((leaves = 0) = (length(frontier) = 0))
) STRICT;

-- The log. A row is an event, or an invalidation (no key, no data). Rows lie in the order in which
-- they were committed, of whatever topic: a commit that has events of many topics fills pages at
-- the end, and changes one page of the index for each of them.
CREATE TABLE event (
    topic INTEGER NOT NULL REFERENCES topic (id),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    "transaction" INTEGER NOT NULL CHECK ("transaction" BETWEEN 0 AND seq),
    -- 1 on the last event of a transaction.
    last INTEGER NOT NULL CHECK (last IN (0, 1)),
    recorded_at INTEGER NOT NULL,
    -- The seq of the key's version before this one: the chain of these is the key's history.
    prev INTEGER CHECK (prev BETWEEN 0 AND seq - 1),
    -- The transaction that an invalidation invalidates.
    invalidates INTEGER CHECK (invalidates BETWEEN 0 AND "transaction" - 1),
    -- On the last event of each committed batch: the writer's epoch, and the Merkle root so far.
    epoch INTEGER,
    root BLOB CHECK (length(root) = 32),
    key TEXT CHECK (length(CAST(key AS BLOB)) BETWEEN 1 AND 1024),
    -- SHA-256 of data.
    digest BLOB CHECK (length(digest) = 32),
    -- The producer's content hash; NULL where it is the lowercase hex of digest.
    hash TEXT,
    type TEXT,
    -- Media type of data; NULL where data is JSON.
    content_type TEXT,
    reason TEXT,
    -- A JSON text.
    metadata TEXT,
    -- Byte for byte as it was sent: a TEXT where it is JSON, a BLOB where it is not.
    data ANY,
    PRIMARY KEY (topic, seq),
    CHECK ((key IS NULL) = (invalidates IS NOT NULL)),
    CHECK ((key IS NULL) = (digest IS NULL)),
    CHECK ((epoch IS NULL) = (root IS NULL)),
    CHECK (key IS NOT NULL OR coalesce(prev, hash, type, content_type, metadata) IS NULL),
    CHECK (key IS NULL OR reason IS NULL),
    CHECK (
        typeof(data) = CASE
            WHEN key IS NULL THEN 'null' WHEN content_type IS NULL THEN 'text' ELSE 'blob'
        END
    )
) STRICT;

-- Transactions that do not stand any more, and the event that said so.
CREATE TABLE invalidation (
    topic INTEGER NOT NULL REFERENCES topic (id),
    "transaction" INTEGER NOT NULL,
    first_seq INTEGER NOT NULL CHECK (first_seq >= "transaction"),
    last_seq INTEGER NOT NULL CHECK (last_seq >= first_seq),
    by_seq INTEGER NOT NULL CHECK (by_seq > last_seq),
    by_transaction INTEGER NOT NULL CHECK (by_transaction > "transaction"),
    PRIMARY KEY (topic, "transaction"),
    UNIQUE (topic, by_seq)
) STRICT, WITHOUT ROWID;

-- How far `latest` has been brought, for each topic: exact up to and with this seq.
CREATE TABLE fold (
    topic INTEGER PRIMARY KEY REFERENCES topic (id),
    seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;

-- Of every key its newest event, and its newest event of a transaction that stands.
CREATE TABLE latest (
    topic INTEGER NOT NULL REFERENCES topic (id),
    key TEXT NOT NULL,
    newest INTEGER NOT NULL,
    standing INTEGER CHECK (standing <= newest),
    PRIMARY KEY (topic, key)
) STRICT, WITHOUT ROWID;

-- Answers kept under an idempotency key.
CREATE TABLE idempotency (
    topic INTEGER NOT NULL REFERENCES topic (id),
    key TEXT NOT NULL,
    -- SHA-256 of what was asked.
    request BLOB NOT NULL CHECK (length(request) = 32),
    receipt BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    PRIMARY KEY (topic, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (recorded_at);

-- How far each producer's numbered lines have come.
CREATE TABLE producer (
    topic INTEGER NOT NULL REFERENCES topic (id),
    producer TEXT NOT NULL,
    epoch INTEGER NOT NULL CHECK (epoch BETWEEN 0 AND 9007199254740991),
    next_line INTEGER NOT NULL CHECK (next_line BETWEEN 0 AND 9007199254740991),
    PRIMARY KEY (topic, producer)
) STRICT, WITHOUT ROWID;

-- The answers to a producer's lines, one row for each batch that held some.
CREATE TABLE producer_lines (
    topic INTEGER NOT NULL REFERENCES topic (id),
    producer TEXT NOT NULL,
    first_line INTEGER NOT NULL CHECK (first_line >= 0),
    receipts BLOB NOT NULL,
    PRIMARY KEY (topic, producer, first_line)
) STRICT, WITHOUT ROWID;

-- Every topic that has an event. (CROSS JOIN keeps SQLite to the order that is written: from each
-- topic to its newest event.)
CREATE VIEW topics AS
SELECT t.name AS topic, e.seq + 1 AS events, e.seq AS head_seq, e."transaction" AS head_transaction
FROM topic AS t
CROSS JOIN event AS e
    ON t.id = e.topic AND e.seq = (SELECT max(n.seq) FROM event AS n WHERE n.topic = t.id);

-- Every event and every invalidation, in order of (topic, seq) if asked to. `data` is JSON text
-- unless `content_type` says what else it is; `invalidated_by` is the transaction that says that
-- this one was wrong.
CREATE VIEW events AS
SELECT
    t.name AS topic,
    e.seq,
    e."transaction",
    e.last,
    e.key,
    CASE WHEN e.key IS NOT NULL THEN coalesce(e.hash, lower(hex(e.digest))) END AS hash,
    e.type,
    e.content_type,
    e.data,
    e.metadata,
    e.invalidates,
    e.reason,
    strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
    || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at,
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
    coalesce(e.hash, lower(hex(e.digest))) AS hash,
    e.type,
    e.content_type,
    e.data,
    e.metadata,
    strftime('%Y-%m-%dT%H:%M:%S', e.recorded_at / 1000000, 'unixepoch')
    || printf('.%06dZ', e.recorded_at % 1000000) AS recorded_at
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
