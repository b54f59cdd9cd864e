// NDJSON streams: VUs that send EVENTS lines a request, one request after the other.
//
// k6 sends a body as a whole and gives the answer as a whole: what is checked are the acks of every
// line, not when they arrive. Some streams have a line that must be refused, and nothing after it
// may be written; some are sent twice by a producer with a name, and must be told the same again.

import exec from 'k6/execution';
import { Client, parseLines } from './lib/client.js';
import { verify } from './lib/follower.js';
import { Roles } from './lib/roles.js';
import { attempt, rule } from './lib/rules.js';
import { pick, run, settings, thresholds, writers } from './lib/settings.js';

const given = settings({ vus: 4, events: 500, keys: 1000, p99: 2000 });
const limits = thresholds(given, ['stream']);
const roles = new Roles(given);
/** Lines sent by this VU under a producer's name, by topic. */
const numbered = {};

export const options = {
    scenarios: { streams: writers(given, limits, 'stream', given.events) },
    thresholds: limits,
    teardownTimeout: '10m',
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
};

export function setup() {
    new Client(given).expectReady();
    return run(given, 'stream');
}

export function stream({ topics }) {
    const producer = roles.producer(pick(topics));
    const turn = exec.vu.iterationInScenario % 10;
    if (turn === 4) {
        const lines = producer.some(given.events);
        producer.stream(lines, {}, Math.ceil(given.events / 2));
    } else if (turn === 7) {
        twice(producer);
    } else {
        producer.stream(grouped(producer.some(given.events)));
    }
}

/** Makes one line in ten a transaction of two events. */
function grouped(events) {
    const lines = [];
    for (let i = 0; i < events.length; i += 1) {
        const pair = i % 10 === 0 && i + 1 < events.length;
        lines.push(pair ? [events[i], events[i + 1]] : events[i]);
        i += pair ? 1 : 0;
    }
    return lines;
}

/** Sends a stream, and sends it again as one does after a lost connection. */
function twice(producer) {
    const { topic } = producer;
    const first = numbered[topic] || 0;
    const headers = {
        'Producer-Id': `${producer.topic}-${producer.name}`,
        'Producer-Epoch': '0',
        'Producer-Seq': String(first),
    };
    const sent = producer.stream(producer.some(given.events), headers);
    if (sent === undefined || sent.acks.length < given.events) {
        // Some of its lines may be there: what number comes next is not known any more.
        producer.name += '+';
        numbered[topic] = 0;
        return;
    }
    numbered[topic] = first + given.events;
    const answer = roles.client.stream(topic, sent.body, headers);
    const said = answer.status === 200 ? parseLines(answer.body) : null;
    if (attempt(said !== null, () => `stream sent again: ${answer.status} ${answer.body}`)) {
        const wrong = sent.acks.find((ack, i) => !repeats(ack, said[i]));
        rule('a stream sent again is answered as before', wrong === undefined, () =>
            `${JSON.stringify(wrong)}, then ${JSON.stringify(said[wrong.line - 1])}`);
    }
}

function repeats(ack, again) {
    return again !== undefined && again.replayed === true && again.line === ack.line
        && again.seq === ack.seq && again.transaction === ack.transaction;
}

export function teardown({ topics }) {
    verify(given, roles.client, topics);
}
