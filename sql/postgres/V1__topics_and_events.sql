-- Topics, their events, and what is kept beside them. Names are compared byte for byte: COLLATE "C"
-- everywhere. Foreign keys are left out on purpose: an append inserts only for topics that its guard
-- has just updated. CHECK constraints repeat the invariants of src/domain, but not where every append
-- would pay for them, a tenth of what it costs: those of `topic` and `event` are in unsound.sql.

CREATE TABLE topic (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    epoch bigint NOT NULL DEFAULT 0,
    head_seq bigint,
    head_transaction bigint,
    frontier bytea NOT NULL DEFAULT ''
)
-- Every append updates one row: room on the page keeps these updates HOT, and versions that
-- nobody sees any more must not pile up.
WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500);
-- At most 53 * 32 bytes that do not compress.
ALTER TABLE topic ALTER COLUMN frontier SET STORAGE PLAIN;

CREATE TABLE event (
    topic bigint NOT NULL,
    seq bigint NOT NULL,
    transaction bigint NOT NULL,
    prev bigint,
    recorded_at timestamptz NOT NULL,
    invalidates bigint,
    epoch bigint,
    last boolean NOT NULL,
    key text COLLATE "C",
    hash text COLLATE "C",
    type text COLLATE "C",
    content_type text COLLATE "C",
    data text COLLATE "C",
    data_binary bytea,
    metadata text COLLATE "C",
    digest bytea,
    reason text COLLATE "C",
    root bytea,
    PRIMARY KEY (topic, seq)
);
-- Values of more than about 2 KB are compressed: fast, where the server can (14 and later).
DO $$
BEGIN
    EXECUTE 'ALTER TABLE event ALTER COLUMN data SET COMPRESSION lz4,'
        ' ALTER COLUMN data_binary SET COMPRESSION lz4,'
        ' ALTER COLUMN metadata SET COMPRESSION lz4';
EXCEPTION WHEN syntax_error OR feature_not_supported OR invalid_parameter_value THEN
    NULL; -- The server's default will do.
END $$;

CREATE TABLE invalidation (
    topic bigint NOT NULL,
    transaction bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    by_seq bigint NOT NULL,
    by_transaction bigint NOT NULL,
    PRIMARY KEY (topic, transaction),
    UNIQUE (topic, by_seq),
    CHECK (0 <= first_seq AND first_seq <= last_seq AND last_seq < by_seq),
    CHECK (transaction < by_transaction)
);

CREATE TABLE idempotency (
    topic bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    request bytea NOT NULL CHECK (octet_length(request) = 32),
    receipt bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (topic, key)
);
CREATE INDEX idempotency_recorded_at ON idempotency (recorded_at);

CREATE TABLE producer (
    topic bigint NOT NULL,
    producer text COLLATE "C" NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    next_line bigint NOT NULL CHECK (next_line >= 0),
    PRIMARY KEY (topic, producer)
) WITH (fillfactor = 50);

CREATE TABLE producer_lines (
    topic bigint NOT NULL,
    producer text COLLATE "C" NOT NULL,
    first_line bigint NOT NULL CHECK (first_line >= 0),
    receipts bytea NOT NULL,
    PRIMARY KEY (topic, producer, first_line)
);

-- How far `latest` has been brought forward: -1 where not at all. Apart from `topic`, because
-- whoever folds holds its row locked for a while, and appends must not wait for that.
CREATE TABLE fold (
    topic bigint PRIMARY KEY,
    seq bigint NOT NULL DEFAULT -1 CHECK (seq >= -1)
) WITH (fillfactor = 50);

-- Of every key, as of `fold.seq`: its newest event, and its newest standing event.
CREATE TABLE latest (
    topic bigint NOT NULL,
    key text COLLATE "C" NOT NULL,
    newest bigint NOT NULL,
    standing bigint CHECK (standing <= newest),
    PRIMARY KEY (topic, key)
);

CREATE VIEW events AS
SELECT t.name AS topic, e.seq, e.transaction, e.last, e.recorded_at, e.key,
    coalesce(e.hash, encode(e.digest, 'hex')) AS hash, e.type, e.content_type,
    e.data::json AS data, e.data_binary, e.metadata::json AS metadata,
    e.prev, e.invalidates, e.reason, i.by_transaction AS invalidated_by
FROM event e
JOIN topic t ON t.id = e.topic
LEFT JOIN invalidation i ON i.topic = e.topic AND i.transaction = e.transaction;
COMMENT ON VIEW events IS
    'Every event of every topic, with what later became of it. Order by topic, seq.';
COMMENT ON COLUMN events.seq IS 'Position in the topic: 0, 1, 2 ... without gaps.';
COMMENT ON COLUMN events.last IS 'Whether the event closes its transaction.';
COMMENT ON COLUMN events.hash IS 'Content hash; the hex SHA-256 of the data where the producer sent none.';
COMMENT ON COLUMN events.data IS 'The data, where it is JSON, byte for byte as it was sent.';
COMMENT ON COLUMN events.data_binary IS 'The data, where it is not JSON: content_type says what it is.';
COMMENT ON COLUMN events.prev IS 'The seq of the previous version of the key.';
COMMENT ON COLUMN events.invalidates IS 'Of an invalidation: the transaction that was wrong.';
COMMENT ON COLUMN events.invalidated_by IS 'The transaction that invalidated this one.';

CREATE VIEW topics AS
SELECT name AS topic, head_seq + 1 AS events, head_seq, head_transaction
FROM topic
WHERE head_seq IS NOT NULL;
COMMENT ON VIEW topics IS 'Every topic that has an event, and its newest event.';

CREATE VIEW transactions AS
SELECT t.name AS topic, e.transaction, min(e.seq) AS first_seq, max(e.seq) AS last_seq,
    count(*) AS events, min(e.recorded_at) AS recorded_at, min(e.invalidates) AS invalidates,
    min(i.by_transaction) AS invalidated_by
FROM event e
JOIN topic t ON t.id = e.topic
LEFT JOIN invalidation i ON i.topic = e.topic AND i.transaction = e.transaction
GROUP BY t.name, e.transaction;
COMMENT ON VIEW transactions IS 'Every transaction of every topic. Order by topic, transaction.';

CREATE VIEW surface AS
SELECT t.name AS topic, k.key, e.seq, e.transaction, e.recorded_at,
    coalesce(e.hash, encode(e.digest, 'hex')) AS hash, e.type, e.content_type,
    e.data::json AS data, e.data_binary, e.metadata::json AS metadata
FROM topic t
CROSS JOIN LATERAL (
    -- The newest event of every key: what has been folded, and the events since.
    SELECT DISTINCT ON (n.key) n.key, n.seq
    FROM (
        SELECT l.key, l.newest AS seq FROM latest l WHERE l.topic = t.id
        UNION ALL
        SELECT s.key, s.seq FROM fold f JOIN event s ON s.topic = f.topic AND s.seq > f.seq
        WHERE f.topic = t.id AND s.key IS NOT NULL
    ) n
    ORDER BY n.key, n.seq DESC
) k
CROSS JOIN LATERAL (
    -- From there down the chain of versions to the first that stands.
    WITH RECURSIVE chain AS (
        SELECT c.seq, c.prev, i.topic IS NULL AS stands
        FROM event c
        LEFT JOIN invalidation i ON i.topic = c.topic AND i.transaction = c.transaction
        WHERE c.topic = t.id AND c.seq = k.seq
        UNION ALL
        SELECT c.seq, c.prev, i.topic IS NULL
        FROM chain n
        JOIN event c ON c.topic = t.id AND c.seq = n.prev
        LEFT JOIN invalidation i ON i.topic = c.topic AND i.transaction = c.transaction
        WHERE NOT n.stands
    )
    SELECT seq FROM chain WHERE stands LIMIT 1
) s
JOIN event e ON e.topic = t.id AND e.seq = s.seq;
COMMENT ON VIEW surface IS
    'The newest standing event of every key of every topic. Name the topic: WHERE topic = ''...''.';
