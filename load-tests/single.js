// One event a request: RATE events a second for DURATION, then a ramp up to twice that and down.
//
// An open model: requests are sent when they are due, whether or not earlier ones were answered, so
// a service that falls behind shows as latency, and then as dropped iterations.

import exec from 'k6/execution';
import { Client } from './lib/client.js';
import { verify } from './lib/follower.js';
import { Roles } from './lib/roles.js';
import { limitDropped, pick, run, settings, thresholds, writers } from './lib/settings.js';

const given = settings({ rate: 200, vus: 50, p99: 250 });
if (given.rate === 0) {
    throw new Error('RATE=0: single.js needs a rate');
}
const limits = thresholds(given, ['event', 'latest']);
const roles = new Roles(given);

const part = (share) => `${given.duration * share}s`;

export const options = {
    scenarios: {
        constant: writers(given, limits, 'write', 1),
        ramping: {
            exec: 'write',
            executor: 'ramping-arrival-rate',
            startTime: `${given.duration + 1}s`,
            startRate: Math.ceil(given.rate / 10),
            preAllocatedVUs: given.vus,
            stages: [
                { target: given.rate * 2, duration: part(0.5) },
                { target: given.rate * 2, duration: part(0.3) },
                { target: 0, duration: part(0.2) },
            ],
        },
    },
    thresholds: limits,
    teardownTimeout: '10m',
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
};
limitDropped(given, limits, given.rate);

export function setup() {
    new Client(given).expectReady();
    return run(given, 'single');
}

/** Of ten events one is a duplicate; of a hundred one is read back. */
export function write({ topics }) {
    const producer = roles.producer(pick(topics));
    const turn = exec.vu.iterationInScenario;
    const event = turn % 10 === 9 ? producer.again() : producer.fresh();
    if (producer.single(event) && turn % 100 === 0) {
        producer.readBack(event);
    }
}

export function teardown({ topics }) {
    verify(given, roles.client, topics);
}
