-- The keys of the transactions that a stretch invalidates: down the chain of versions from the
-- newest to the first that stands at the end of the stretch. (`+ 0`: an invalidation is to be
-- looked up by its transaction, not among all that came before.)
UPDATE latest l
SET standing = (
    WITH RECURSIVE chain (seq, prev, stands) AS (
        SELECT e.seq, e.prev, i.topic IS NULL
        FROM event e
        LEFT JOIN invalidation i
            ON i.topic = $1 AND i.transaction = e.transaction AND i.by_seq + 0 <= $3
        WHERE e.topic = $1 AND e.seq = l.newest
        UNION ALL
        SELECT e.seq, e.prev, i.topic IS NULL
        FROM chain c
        JOIN event e ON e.topic = $1 AND e.seq = c.prev
        LEFT JOIN invalidation i
            ON i.topic = $1 AND i.transaction = e.transaction AND i.by_seq + 0 <= $3
        WHERE NOT c.stands
    )
    SELECT c.seq FROM chain c WHERE c.stands LIMIT 1
)
FROM (
    SELECT DISTINCT e.key
    FROM invalidation i
    JOIN event e ON e.topic = $1 AND e.seq BETWEEN i.first_seq AND i.last_seq
    WHERE i.topic = $1 AND i.by_seq BETWEEN $2 AND $3
) touched
WHERE l.topic = $1 AND l.key = touched.key
