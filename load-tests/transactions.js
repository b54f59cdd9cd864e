// Transactions of EVENTS events: plain ones, conditional ones, ones that are sent twice under an
// Idempotency-Key, and ones that turn out to be wrong and are invalidated.

import exec from 'k6/execution';
import { Client, certainlyNotCommitted, describe, parse } from './lib/client.js';
import { verify } from './lib/follower.js';
import { Roles } from './lib/roles.js';
import { attempt, rule } from './lib/rules.js';
import { pick, run, settings, thresholds, writers } from './lib/settings.js';

const given = settings({ vus: 10, events: 5 });
const limits = thresholds(given, ['transaction', 'invalidation', 'latest']);
const roles = new Roles(given);

export const options = {
    scenarios: { transactions: writers(given, limits, 'transaction', given.events) },
    thresholds: limits,
    teardownTimeout: '10m',
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
};

export function setup() {
    new Client(given).expectReady();
    return run(given, 'transactions');
}

export function transaction({ topics }) {
    const producer = roles.producer(pick(topics));
    const turn = exec.vu.iterationInScenario % 10;
    if (turn === 2) {
        replayed(producer);
    } else if (turn === 4) {
        conditional(producer);
    } else if (turn === 7) {
        invalidated(producer);
    } else {
        producer.transaction(producer.some(given.events));
    }
}

/** The same request under the same key gives the same answer. */
function replayed(producer) {
    const name = `${producer.topic}-${producer.name}-${exec.vu.iterationInScenario}`;
    const headers = { 'Idempotency-Key': name };
    const sent = producer.transaction(producer.some(given.events), headers);
    if (sent === undefined) {
        return;
    }
    const again = roles.client.transaction(producer.topic, sent.body, headers);
    const answered = again.status === 200 || again.status === 201;
    if (attempt(answered, () => describe('transaction sent again', again))) {
        const same = again.body === sent.answer.body && again.status === sent.answer.status
            && again.headers['Idempotency-Replayed'] === 'true';
        rule('a transaction sent again is answered as before', same, () =>
            `${sent.answer.status} ${sent.answer.body}, then ${describe('again', again)}`);
    }
}

/** A condition on a head that the topic has not must fail, and nothing may be written. */
function conditional(producer) {
    const events = [producer.fresh(), producer.fresh()];
    const body = `{"events":[${events.map((event) => producer.body(event)).join(',')}]}`;
    const { seq } = producer.newest;
    const stale = { 'If-Match': `"${seq > 0 ? seq - 1 : 2 ** 50}"` };
    const answer = roles.client.transaction(producer.topic, body, stale, [412]);
    const problem = parse(answer.body) || {};
    producer.forget(events, answer.status === 412 || certainlyNotCommitted(problem));
    const decided = answer.status !== 0 && answer.status < 500;
    if (attempt(decided, () => describe('If-Match', answer))) {
        const refused = answer.status === 412 && (seq < 0 || problem.head.seq >= seq);
        rule('a condition that does not hold is refused', refused, () => describe('If-Match', answer));
        // The same events again: had they been written, they would be duplicates now.
        producer.transaction(events.map(({ key }) => producer.version(key)));
    }
}

/** An invalidated transaction leaves the surface: its keys fall back to what they were before. */
function invalidated(producer) {
    const before = producer.fresh();
    if (!producer.single(before)) {
        return;
    }
    const { key } = before;
    const { version } = key;
    const sent = producer.transaction([producer.version(key)]);
    if (sent === undefined) {
        return;
    }
    const answer = roles.client.invalidation(producer.topic, sent.said.transaction);
    const said = parse(answer.body) || {};
    if (!attempt(answer.status === 201, () => describe('invalidation', answer))) {
        key.stands = false;
        return;
    }
    rule('versions rise', said.seq > producer.newest.seq, () => describe('invalidation', answer));
    producer.newest = { seq: said.seq, transaction: said.transaction };
    key.version = version;
    const event = roles.client.latest(producer.topic, key.name);
    if (event !== undefined) {
        rule('an invalidated transaction is off the surface', event.seq === version.seq, () =>
            `${key.name} was at ${version.seq} before: ${JSON.stringify(event)}`);
    }
    producer.single({ key, n: before.n, duplicate: true });
    key.stands = false;
}

export function teardown({ topics }) {
    verify(given, roles.client, topics, true);
}
