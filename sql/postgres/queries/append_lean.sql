-- Batches of many topics in one implicit transaction, nothing in them but events with JSON data.
-- The guard moves the topics whose epoch and head are as planned; only their events go in.
WITH moved AS (
    UPDATE topic
    SET head_seq = w.head_seq, head_transaction = w.head_transaction, frontier = w.frontier
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
        AS w (id, epoch, expected, head_seq, head_transaction, frontier)
    WHERE topic.id = w.id
        AND topic.epoch = w.epoch
        AND topic.head_seq IS NOT DISTINCT FROM w.expected
    RETURNING topic.id
), events AS (
    INSERT INTO event (topic, seq, transaction, last, recorded_at, key, hash, type, data,
        metadata, digest, prev, epoch, root)
    SELECT *
    FROM unnest($7::bigint[], $8::bigint[], $9::bigint[], $10::boolean[], $11::timestamptz[],
        $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::bytea[],
        $18::bigint[], $19::bigint[], $20::bytea[])
        AS e (topic, seq, transaction, last, recorded_at, key, hash, type, data,
        metadata, digest, prev, epoch, root)
    -- IS TRUE keeps the planner from a join: a hashed sub-plan, not a nested loop.
    WHERE (e.topic IN (SELECT id FROM moved)) IS TRUE
)
SELECT id FROM moved
