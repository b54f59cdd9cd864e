-- Where transactions begin and end, and what became of them; NULLs where there is none.
-- Transaction numbers rise with seq, and a number is never above its seq: bisect.
SELECT b.lo AS first_seq, z.seq AS last_seq, e.invalidates, i.by_seq, i.by_transaction
FROM unnest($2::bigint[]) WITH ORDINALITY AS w (transaction, n)
LEFT JOIN topic t ON t.id = $1 AND t.head_transaction >= w.transaction
LEFT JOIN LATERAL (
    WITH RECURSIVE bisect (lo, hi) AS (
        SELECT w.transaction, t.head_seq WHERE t.id IS NOT NULL
        UNION ALL
        SELECT CASE WHEN m.transaction < w.transaction THEN m.seq + 1 ELSE b.lo END,
            CASE WHEN m.transaction < w.transaction THEN b.hi ELSE m.seq END
        FROM bisect b
        JOIN event m ON m.topic = $1 AND m.seq = (b.lo + b.hi) / 2
        WHERE b.lo < b.hi
    )
    SELECT lo FROM bisect WHERE lo = hi
) b ON true
LEFT JOIN event e ON e.topic = $1 AND e.seq = b.lo
LEFT JOIN LATERAL (
    SELECT l.seq FROM event l
    WHERE l.topic = $1 AND l.seq >= b.lo AND l.last
    ORDER BY l.seq
    LIMIT 1
) z ON true
LEFT JOIN invalidation i ON i.topic = $1 AND i.transaction = w.transaction
ORDER BY w.n
