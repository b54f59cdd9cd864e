-- Rows of `topic` and `event` that no writer of ours makes; none, unless somebody else wrote there.
SELECT 'topic ' || id AS row
FROM tidelog.topic
WHERE NOT (epoch >= 0
    AND (head_seq IS NULL) = (head_transaction IS NULL)
    AND coalesce(head_transaction BETWEEN 0 AND head_seq, true)
    AND octet_length(frontier) % 32 = 0)
UNION ALL
SELECT 'event ' || topic || '/' || seq
FROM tidelog.event
WHERE NOT (transaction BETWEEN 0 AND seq
    AND coalesce(prev < seq, true)
    AND (epoch IS NULL) = (root IS NULL)
    AND (last OR epoch IS NULL)
    AND CASE WHEN invalidates IS NULL
        THEN key IS NOT NULL AND digest IS NOT NULL AND reason IS NULL
            AND (data IS NULL) = (content_type IS NOT NULL)
            AND (data_binary IS NULL) = (content_type IS NULL)
        ELSE key IS NULL AND digest IS NULL AND data IS NULL AND data_binary IS NULL
            AND prev IS NULL AND invalidates < transaction
        END)
