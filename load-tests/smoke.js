// Everything once, in a second or two: is this a Tidelog that does what it promises? Each VU writes
// a topic of its own, and checks every answer. Not load; run it first.

import http from 'k6/http';
import exec from 'k6/execution';
import { Client, describe, parse, parseLines } from './lib/client.js';
import { Follower } from './lib/follower.js';
import { Producer } from './lib/producer.js';
import { rule } from './lib/rules.js';
import { run, settings, thresholds } from './lib/settings.js';

const given = settings({ vus: 1, topics: 1, p99: 1000 });
const client = new Client(given);

export const options = {
    scenarios: {
        smoke: { executor: 'per-vu-iterations', vus: given.vus, iterations: 1, maxDuration: '2m' },
    },
    thresholds: { ...thresholds(given, ['event', 'stream', 'page']), errors: ['rate==0'] },
    summaryTrendStats: ['min', 'med', 'max'],
};

export function setup() {
    client.expectReady();
    return run({ ...given, topics: given.vus }, 'smoke');
}

export default function smoke({ topics }) {
    const topic = topics[exec.vu.idInTest - 1];
    const producer = new Producer(given, client, topic, 'p');
    singles(producer);
    streams(producer);
    transactions(producer);
    reads(topic);
    refusals(producer);
    const follower = new Follower(client, topic);
    follower.histories = true;
    follower.catchUp(100);
    follower.compareSurface();
}

/** Events one by one: new, new, the same again, changed. What was acknowledged can be read. */
function singles(producer) {
    const send = (event) => {
        producer.single(event);
        producer.readBack(event);
    };
    send(producer.fresh());
    const event = producer.fresh();
    send(event);
    send({ ...event, duplicate: true });
    send(producer.version(event.key));
}

/** A stream with duplicates and a transaction, one with a bad line, and one that is sent twice. */
function streams(producer) {
    producer.stream([...producer.some(100), producer.some(5), ...producer.some(100)]);
    producer.stream(producer.some(20), {}, 10);
    const headers = { 'Producer-Id': 'smoke', 'Producer-Epoch': '0', 'Producer-Seq': '0' };
    const sent = producer.stream(producer.some(20), headers);
    const answer = client.stream(producer.topic, sent.body, headers);
    const again = parseLines(answer.body) || [];
    const same = sent.acks.every((ack, i) => again[i] !== undefined && again[i].replayed === true
        && again[i].seq === ack.seq && again[i].transaction === ack.transaction);
    rule('a stream sent again is answered as before', same, () => describe('again', answer));
}

/** A transaction, sent twice, then invalidated; and a condition that does not hold. */
function transactions(producer) {
    const { topic } = producer;
    const before = producer.fresh();
    producer.single(before);
    const { version } = before.key;
    const headers = { 'Idempotency-Key': 'smoke' };
    const events = [producer.version(before.key), ...producer.some(4)];
    const sent = producer.transaction(events, headers);
    const again = client.transaction(topic, sent.body, headers);
    const same = again.body === sent.answer.body && again.headers['Idempotency-Replayed'] === 'true';
    rule('a transaction sent again is answered as before', same, () => describe('again', again));

    const invalidated = client.invalidation(topic, sent.said.transaction);
    const said = parse(invalidated.body) || {};
    const follows = invalidated.status === 201 && said.seq > producer.newest.seq;
    rule('versions rise', follows, () => describe('invalidation', invalidated));
    const latest = client.latest(topic, before.key.name) || {};
    rule('an invalidated transaction is off the surface', latest.seq === version.seq, () =>
        `${before.key.name} was at ${version.seq} before: ${JSON.stringify(latest)}`);

    const condition = { 'If-None-Match': '*' };
    const refused = client.transaction(topic, sent.body, condition, [412]);
    rule('a condition that does not hold is refused', refused.status === 412, () =>
        describe('If-None-Match', refused));
}

/** The same events, in whichever way they are read. */
function reads(topic) {
    const { head } = client.topic(topic) || {};
    const limit = head.seq + 1;
    const seqs = (events) => events.map((event) => event.seq).join();
    const forward = client.page(topic, `limit=${limit}`).events;
    const backward = client.page(topic, `limit=${limit}&direction=backward`).events;
    const type = { Accept: 'application/x-ndjson' };
    const lines = parseLines(client.get('lines', `/v1/topics/${topic}/events`, type).body) || [];
    rule('reads have no gaps', forward.length === limit, () =>
        `${forward.length} events, the head is ${head.seq}`);
    rule('all ways to read agree', seqs(lines) === seqs(forward)
        && seqs(backward.reverse()) === seqs(forward), () =>
        `a page: ${seqs(forward)}; backward: ${seqs(backward)}; lines: ${seqs(lines)}`);
    const last = client.read('read', `/v1/topics/${topic}/transactions/${head.transaction}`);
    rule('transactions are whole and numbered without gaps', last.events.length > 0
        && last.events[last.events.length - 1].seq === head.seq, () => JSON.stringify(last));
    const listed = client.read('read', `/v1/topics?prefix=${topic}`).topics;
    rule('the topic is listed', listed.length === 1 && listed[0].head.seq === head.seq, () =>
        JSON.stringify(listed));
}

/** What is wrong is refused, and the problem says so. */
function refusals(producer) {
    const path = `/v1/topics/${producer.topic}/events`;
    const cases = [
        ['{"key":', 400, 'malformed'],
        ['{"key":"k"}', 422, 'invalid'],
        ['{"key":"k","data":1,"colour":2}', 422, 'invalid'],
    ];
    for (const [body, status, code] of cases) {
        const answer = client.post('refused', path, body, 'application/json', {}, [status]);
        const problem = parse(answer.body) || {};
        const right = answer.status === status && problem.code === code && problem.committed === 'no';
        rule('what is wrong is refused', right, () => describe(body, answer));
    }
    const options = { responseCallback: http.expectedStatuses(404), tags: { name: 'refused' } };
    options.headers = client.headers;
    const missing = http.get(`${given.url}/v1/topics/${producer.topic}-not-there`, options);
    rule('what is wrong is refused', missing.status === 404, () => describe('no topic', missing));
}
