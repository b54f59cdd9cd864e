-- What everything is, for `\d+`. The views are for people and stay as they are; the tables are the
-- service's own, and only it writes them. Positions (seq, transaction, epoch, lines) are below 2^53.

COMMENT ON TABLE topic IS 'A topic, and where it ends. One row, updated by every commit.';
COMMENT ON COLUMN topic.id IS 'What all other tables call it.';
COMMENT ON COLUMN topic.name IS 'Its name, compared byte for byte.';
COMMENT ON COLUMN topic.epoch IS 'Counts the writers that the topic has had; only the newest may append.';
COMMENT ON COLUMN topic.head_seq IS 'The newest event; NULL while there is none.';
COMMENT ON COLUMN topic.head_transaction IS 'Its transaction.';
COMMENT ON COLUMN topic.frontier IS
    'Peaks of the Merkle tree (RFC 6962) over all events: 32 bytes for each set bit of their number.';

COMMENT ON TABLE event IS 'The log. A row is an event, or an invalidation (no key, no data). Read it by the view events.';
COMMENT ON COLUMN event.topic IS 'topic.id.';
COMMENT ON COLUMN event.seq IS 'Position in the topic: 0, 1, 2 ... without gaps.';
COMMENT ON COLUMN event.transaction IS 'Its transaction: 0, 1, 2 ... in the topic.';
COMMENT ON COLUMN event.prev IS 'The seq of the previous version of the key: the chain of these is its history.';
COMMENT ON COLUMN event.recorded_at IS 'When it was numbered, by the clock of the service.';
COMMENT ON COLUMN event.invalidates IS 'Of an invalidation: the transaction that was wrong.';
COMMENT ON COLUMN event.epoch IS 'On the last event of each committed batch: the writer''s epoch.';
COMMENT ON COLUMN event.last IS 'Whether the event closes its transaction.';
COMMENT ON COLUMN event.key IS 'What it is about; NULL for an invalidation.';
COMMENT ON COLUMN event.hash IS 'The producer''s content hash; NULL where it is the lowercase hex of digest.';
COMMENT ON COLUMN event.type IS 'Its type, where the producer gave one.';
COMMENT ON COLUMN event.content_type IS 'Media type of the data; NULL where it is JSON.';
COMMENT ON COLUMN event.data IS 'The data, where it is JSON, byte for byte as it was sent.';
COMMENT ON COLUMN event.data_binary IS 'The data, where it is not JSON.';
COMMENT ON COLUMN event.metadata IS 'A JSON text beside the data; it is not part of the content hash.';
COMMENT ON COLUMN event.digest IS 'SHA-256 of the data.';
COMMENT ON COLUMN event.reason IS 'Of an invalidation: why, in the words of who asked for it.';
COMMENT ON COLUMN event.root IS 'On the last event of each committed batch: the Merkle root of everything up to it.';

COMMENT ON TABLE invalidation IS 'Transactions that do not stand any more, and the event that said so.';
COMMENT ON COLUMN invalidation.topic IS 'topic.id.';
COMMENT ON COLUMN invalidation.transaction IS 'The transaction that was wrong.';
COMMENT ON COLUMN invalidation.first_seq IS 'Its first event.';
COMMENT ON COLUMN invalidation.last_seq IS 'Its last event.';
COMMENT ON COLUMN invalidation.by_seq IS 'The event that invalidates it.';
COMMENT ON COLUMN invalidation.by_transaction IS 'The transaction of that event.';

COMMENT ON TABLE idempotency IS 'Answers kept under an idempotency key, for 48 hours.';
COMMENT ON COLUMN idempotency.topic IS 'topic.id.';
COMMENT ON COLUMN idempotency.key IS 'The key, as the producer sent it.';
COMMENT ON COLUMN idempotency.request IS 'SHA-256 of what was asked.';
COMMENT ON COLUMN idempotency.receipt IS 'What was answered, in the service''s own form.';
COMMENT ON COLUMN idempotency.recorded_at IS 'When.';

COMMENT ON TABLE producer IS 'How far the numbered lines of each producer have come.';
COMMENT ON COLUMN producer.topic IS 'topic.id.';
COMMENT ON COLUMN producer.producer IS 'The name that it gives itself.';
COMMENT ON COLUMN producer.epoch IS 'Its newest epoch; those of an older one are refused.';
COMMENT ON COLUMN producer.next_line IS 'The number of the line that comes next.';

COMMENT ON TABLE producer_lines IS 'What became of the numbered lines, for producers that send them again.';
COMMENT ON COLUMN producer_lines.topic IS 'topic.id.';
COMMENT ON COLUMN producer_lines.producer IS 'The name that the producer gives itself.';
COMMENT ON COLUMN producer_lines.first_line IS 'The number of the first of these lines.';
COMMENT ON COLUMN producer_lines.receipts IS 'What was answered, line by line, in the service''s own form.';

COMMENT ON TABLE fold IS 'How far latest has been brought forward.';
COMMENT ON COLUMN fold.topic IS 'topic.id.';
COMMENT ON COLUMN fold.seq IS 'latest is exact up to and with this event; -1 where it has not begun.';

COMMENT ON TABLE latest IS 'Of every key, as of fold.seq: its newest event. The events since are only in the log.';
COMMENT ON COLUMN latest.topic IS 'topic.id.';
COMMENT ON COLUMN latest.key IS 'The key.';
COMMENT ON COLUMN latest.newest IS 'The seq of its newest event.';
COMMENT ON COLUMN latest.standing IS 'The seq of its newest event of a transaction that stands; NULL where none does.';

COMMENT ON TABLE consumer IS 'How far each consumer that keeps its position here has come. Read it by the view consumers.';
COMMENT ON COLUMN consumer.topic IS 'topic.id.';
COMMENT ON COLUMN consumer.name IS 'Its name.';
COMMENT ON COLUMN consumer.seq IS 'The last event that it has handled; NULL for none.';
COMMENT ON COLUMN consumer.revision IS 'Changes with every move; never the same again.';
COMMENT ON COLUMN consumer.updated_at IS 'When it was moved there.';

COMMENT ON TABLE refinery_schema_history IS 'Which of sql/postgres/V*.sql have been applied.';

COMMENT ON VIEW events IS
    'Every event of every topic, with what later became of it. Name the topic and a range of seq: '
    'WHERE topic = ''...'' AND seq > ... ORDER BY seq; where it ends is topics.head_seq.';
COMMENT ON COLUMN events.topic IS 'Name of the topic.';
COMMENT ON COLUMN events.transaction IS 'Its transaction: 0, 1, 2 ... in the topic.';
COMMENT ON COLUMN events.recorded_at IS 'When it was numbered, by the clock of the service.';
COMMENT ON COLUMN events.key IS 'What it is about; NULL for an invalidation.';
COMMENT ON COLUMN events.type IS 'Its type, where the producer gave one.';
COMMENT ON COLUMN events.content_type IS 'Media type of the data; NULL where it is JSON.';
COMMENT ON COLUMN events.metadata IS 'What the producer sent beside the data.';
COMMENT ON COLUMN events.reason IS 'Of an invalidation: why.';

COMMENT ON COLUMN topics.topic IS 'Name of the topic.';
COMMENT ON COLUMN topics.events IS 'How many events it has.';
COMMENT ON COLUMN topics.head_seq IS 'The newest event.';
COMMENT ON COLUMN topics.head_transaction IS 'Its transaction.';

COMMENT ON VIEW transactions IS
    'Every transaction of every topic, counted from its events. Name the topic: WHERE topic = ''...''.';
COMMENT ON COLUMN transactions.topic IS 'Name of the topic.';
COMMENT ON COLUMN transactions.transaction IS '0, 1, 2 ... in the topic.';
COMMENT ON COLUMN transactions.first_seq IS 'Its first event.';
COMMENT ON COLUMN transactions.last_seq IS 'Its last event.';
COMMENT ON COLUMN transactions.events IS 'How many events it has.';
COMMENT ON COLUMN transactions.recorded_at IS 'When it was numbered.';
COMMENT ON COLUMN transactions.invalidates IS 'Of an invalidation: the transaction that was wrong.';
COMMENT ON COLUMN transactions.invalidated_by IS 'The transaction that invalidated this one.';

COMMENT ON COLUMN surface.topic IS 'Name of the topic.';
COMMENT ON COLUMN surface.key IS 'The key.';
COMMENT ON COLUMN surface.seq IS 'Its newest event that stands.';
COMMENT ON COLUMN surface.transaction IS 'The transaction of that event.';
COMMENT ON COLUMN surface.recorded_at IS 'When it was numbered.';
COMMENT ON COLUMN surface.hash IS 'Content hash; the hex SHA-256 of the data where the producer sent none.';
COMMENT ON COLUMN surface.type IS 'Its type, where the producer gave one.';
COMMENT ON COLUMN surface.content_type IS 'Media type of the data; NULL where it is JSON.';
COMMENT ON COLUMN surface.data IS
    'The data, where it is JSON, as it was sent; but U+FFFD for \u0000 and lone surrogates.';
COMMENT ON COLUMN surface.data_binary IS 'The data, where it is not JSON.';
COMMENT ON COLUMN surface.metadata IS 'What the producer sent beside the data.';

COMMENT ON COLUMN consumers.topic IS 'Name of the topic.';
COMMENT ON COLUMN consumers.consumer IS 'Name of the consumer.';
COMMENT ON COLUMN consumers.head_seq IS 'The newest event of the topic.';
