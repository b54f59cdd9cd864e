-- The newest event of every key of a stretch. It stands, as far as the events before it say.
INSERT INTO latest AS l (topic, key, newest, standing)
SELECT $1, n.key, n.seq, n.seq
FROM (
    SELECT DISTINCT ON (e.key) e.key, e.seq
    FROM event e
    WHERE e.topic = $1 AND e.seq BETWEEN $2 AND $3 AND e.key IS NOT NULL
    ORDER BY e.key, e.seq DESC
) n
ON CONFLICT (topic, key) DO UPDATE SET newest = excluded.newest, standing = excluded.standing
