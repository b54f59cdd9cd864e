// Mixed load: writers (single events, streams, transactions; RATE events a second in all), readers
// that follow every topic, and one that compares surfaces with the log while it grows.

import { Client } from './lib/client.js';
import { verify } from './lib/follower.js';
import { Roles, TEN_WRITES } from './lib/roles.js';
import { run, settings, thresholds, writers } from './lib/settings.js';

const given = settings({ rate: 500, vus: 20 });
const names = ['event', 'stream', 'transaction', 'page', 'latest', 'surface'];
const limits = thresholds(given, names);
limits.events_read = ['count>0'];
const roles = new Roles(given);
const duration = `${given.duration}s`;

export const options = {
    scenarios: {
        writers: writers(given, limits, 'write', TEN_WRITES.events, 10),
        readers: { exec: 'read', executor: 'constant-vus', vus: 2, duration },
        surface: { exec: 'compare', executor: 'constant-vus', vus: 1, duration },
    },
    thresholds: limits,
    teardownTimeout: '10m',
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
};

export function setup() {
    new Client(given).expectReady();
    return run(given, 'mixed');
}

export function write(data) {
    roles.write(data);
}

export function read(data) {
    roles.read(data);
}

export function compare(data) {
    roles.compare(data);
}

export function teardown({ topics }) {
    verify(given, roles.client, topics);
}
