-- As append_many.sql, with everything that a batch can hold.
WITH moved AS (
    UPDATE topic
    SET head_seq = w.head_seq, head_transaction = w.head_transaction, frontier = w.frontier
    FROM (
        SELECT unnest($1::bigint[]) AS id, unnest($2::bigint[]) AS epoch,
            unnest($3::bigint[]) AS expected, unnest($4::bigint[]) AS head_seq,
            unnest($5::bigint[]) AS head_transaction, unnest($6::bytea[]) AS frontier
    ) w
    WHERE topic.id = w.id
        AND topic.epoch = w.epoch
        AND topic.head_seq IS NOT DISTINCT FROM w.expected
    RETURNING topic.id
), events AS (
    INSERT INTO event (topic, seq, transaction, last, recorded_at, key, hash, type, data,
        metadata, digest, prev, epoch, root, content_type, data_binary, invalidates, reason)
    SELECT *
    FROM (
        SELECT unnest($7::bigint[]) AS topic, unnest($8::bigint[]) AS seq,
            unnest($9::bigint[]) AS transaction, unnest($10::boolean[]) AS last,
            unnest($11::timestamptz[]) AS recorded_at, unnest($12::text[]) AS key,
            unnest($13::text[]) AS hash, unnest($14::text[]) AS type, unnest($15::text[]) AS data,
            unnest($16::text[]) AS metadata, unnest($17::bytea[]) AS digest,
            unnest($18::bigint[]) AS prev, unnest($19::bigint[]) AS epoch,
            unnest($20::bytea[]) AS root, unnest($21::text[]) AS content_type,
            unnest($22::bytea[]) AS data_binary, unnest($23::bigint[]) AS invalidates,
            unnest($24::text[]) AS reason
    ) e
    WHERE (e.topic IN (SELECT id FROM moved)) IS TRUE
), invalidations AS (
    INSERT INTO invalidation (topic, transaction, first_seq, last_seq, by_seq, by_transaction)
    SELECT *
    FROM unnest($25::bigint[], $26::bigint[], $27::bigint[], $28::bigint[], $29::bigint[],
        $30::bigint[])
        AS i (topic, transaction, first_seq, last_seq, by_seq, by_transaction)
    WHERE (i.topic IN (SELECT id FROM moved)) IS TRUE
), answers AS (
    INSERT INTO idempotency (topic, key, request, receipt, recorded_at)
    SELECT *
    FROM unnest($31::bigint[], $32::text[], $33::bytea[], $34::bytea[], $35::timestamptz[])
        AS a (topic, key, request, receipt, recorded_at)
    WHERE (a.topic IN (SELECT id FROM moved)) IS TRUE
    ON CONFLICT (topic, key) DO UPDATE SET request = excluded.request,
        receipt = excluded.receipt, recorded_at = excluded.recorded_at
), producers AS (
    INSERT INTO producer (topic, producer, epoch, next_line)
    SELECT *
    FROM unnest($36::bigint[], $37::text[], $38::bigint[], $39::bigint[])
        AS p (topic, producer, epoch, next_line)
    WHERE (p.topic IN (SELECT id FROM moved)) IS TRUE
    ON CONFLICT (topic, producer) DO UPDATE SET epoch = excluded.epoch,
        next_line = excluded.next_line
), lines AS (
    INSERT INTO producer_lines (topic, producer, first_line, receipts)
    SELECT *
    FROM unnest($40::bigint[], $41::text[], $42::bigint[], $43::bytea[])
        AS l (topic, producer, first_line, receipts)
    WHERE (l.topic IN (SELECT id FROM moved)) IS TRUE
)
SELECT coalesce(array_agg(id), '{}') FROM moved
