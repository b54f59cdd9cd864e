-- The keys of the events ?2 to ?3 of topic ?1 have a new standing event, or none: the first of
-- their chain whose transaction is not invalidated at or before seq ?4.
UPDATE latest
SET standing = (
    WITH RECURSIVE chain (seq, prev, stands) AS (
        SELECT e.seq, e.prev, i.by_seq IS NULL
        FROM event AS e
        LEFT JOIN invalidation AS i
            ON e.topic = i.topic AND e."transaction" = i."transaction" AND i.by_seq <= ?4
        WHERE e.topic = ?1 AND e.seq = latest.newest
        UNION ALL
        SELECT e.seq, e.prev, i.by_seq IS NULL
        FROM chain AS c
        INNER JOIN event AS e ON e.topic = ?1 AND c.prev = e.seq
        LEFT JOIN invalidation AS i
            ON e.topic = i.topic AND e."transaction" = i."transaction" AND i.by_seq <= ?4
        WHERE NOT c.stands
    )

    SELECT seq FROM chain WHERE stands
)
WHERE topic = ?1 AND key IN (
    SELECT key FROM event WHERE topic = ?1 AND seq BETWEEN ?2 AND ?3 AND key IS NOT NULL
)
