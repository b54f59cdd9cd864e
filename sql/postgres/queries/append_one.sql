-- One batch with nothing in it but events with JSON data: nearly all that is written, but for events
-- that come alone (append_single.sql). The guard moves the topic if its epoch and head are as planned;
-- only then do the events go in.
--
-- Nine arrays fewer make the statement a sixth cheaper. So what is the same for all events comes
-- once, the seqs are counted, and an array ends with its last value that says something: what
-- it is too short for is NULL, as arrays in the list of a SELECT are. In FROM they would be copied
-- first, which costs a fifth of the whole statement.
WITH moved AS (
    UPDATE topic
    SET head_seq = $4::bigint, head_transaction = $5::bigint, frontier = $6::bytea
    WHERE id = $1::bigint AND epoch = $2::bigint AND head_seq IS NOT DISTINCT FROM $3::bigint
    RETURNING id
), events AS (
    INSERT INTO event (topic, seq, transaction, last, recorded_at, key, hash, type, data, metadata,
        digest, prev, epoch, root)
    SELECT moved.id, e.seq, coalesce(e.transaction, e.seq - $4 + $5), coalesce(e.last, true),
        coalesce(e.recorded_at, $9::timestamptz), e.key, e.hash, e.type, e.data, e.metadata,
        e.digest, e.prev, CASE WHEN e.seq = $4 THEN $2 END, CASE WHEN e.seq = $4 THEN $8::bytea END
    FROM moved, LATERAL (
        SELECT generate_series($7::bigint, $4) AS seq, unnest($10::bigint[]) AS transaction,
            unnest($11::boolean[]) AS last, unnest($12::timestamptz[]) AS recorded_at,
            unnest($13::text[]) AS key, unnest($14::text[]) AS hash, unnest($15::text[]) AS type,
            unnest($16::text[]) AS data, unnest($17::text[]) AS metadata,
            unnest($18::bytea[]) AS digest, unnest($19::bigint[]) AS prev
    ) e
)
SELECT id FROM moved
