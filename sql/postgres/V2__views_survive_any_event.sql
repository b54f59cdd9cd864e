-- The views show data and metadata as json, and PostgreSQL's json operators fail where a string has
-- an escape that stands for no character: \u0000, or half of a surrogate pair. One such event broke
-- every query that looked into the data of its topic. The views now show U+FFFD in its place; the
-- exact bytes are in the table `event`.

-- Steps, none of which can be mistaken about what is escaped: \\ becomes U+0001, which no JSON text
-- has; pairs of surrogates hide their backslashes as U+0002; what is left is replaced; and back.
-- (No SET and not STRICT: so it becomes part of the queries that use it, and costs one comparison.)
CREATE FUNCTION readable(sent text) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $readable$
    SELECT CASE WHEN sent ~ E'\\\\u(0000|[dD][89a-fA-F])'
    THEN replace(replace(
        regexp_replace(
            regexp_replace(
                replace(sent, E'\\\\', E'\x01'),
                E'\\\\(u[dD][89abAB][[:xdigit:]]{2})\\\\(u[dD][c-fC-F][[:xdigit:]]{2})',
                E'\x02\\1\x02\\2', 'g'
            ),
            E'\\\\u(0000|[dD][89a-fA-F][[:xdigit:]]{2})', E'\\\\ufffd', 'g'
        ), E'\x02', E'\\'), E'\x01', E'\\\\')
    ELSE sent
    END::json
$readable$;
COMMENT ON FUNCTION readable IS
    'A JSON text as json, with U+FFFD for escapes that PostgreSQL''s json cannot hold.';

CREATE OR REPLACE VIEW events AS
SELECT t.name AS topic, e.seq, e.transaction, e.last, e.recorded_at, e.key,
    coalesce(e.hash, encode(e.digest, 'hex')) AS hash, e.type, e.content_type,
    readable(e.data) AS data, e.data_binary, readable(e.metadata) AS metadata,
    e.prev, e.invalidates, e.reason, i.by_transaction AS invalidated_by
FROM event e
JOIN topic t ON t.id = e.topic
LEFT JOIN invalidation i ON i.topic = e.topic AND i.transaction = e.transaction;
COMMENT ON COLUMN events.data IS
    'The data, where it is JSON, as it was sent; but U+FFFD for \u0000 and lone surrogates.';

CREATE OR REPLACE VIEW surface AS
SELECT t.name AS topic, k.key, e.seq, e.transaction, e.recorded_at,
    coalesce(e.hash, encode(e.digest, 'hex')) AS hash, e.type, e.content_type,
    readable(e.data) AS data, e.data_binary, readable(e.metadata) AS metadata
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
