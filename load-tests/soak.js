// The load of mixed.js, gently and for long (an hour where DURATION says nothing), to find what
// grows: the latencies of the last tenth have a threshold of their own, and so has the service's
// memory.

import { sleep } from 'k6';
import exec from 'k6/execution';
import { Trend } from 'k6/metrics';
import { Client } from './lib/client.js';
import { verify } from './lib/follower.js';
import { Roles, TEN_WRITES } from './lib/roles.js';
import { run, settings, thresholds, writers } from './lib/settings.js';

const given = settings({ rate: 100, vus: 20, duration: '1h' });
const names = ['event', 'stream', 'transaction', 'page', 'latest', 'surface'];
const limits = thresholds(given, names);
limits.events_read = ['count>0'];
limits['http_req_duration{phase:last}'] = [`p(99)<${given.p99}`];
limits.service_memory_mib = [`max<${given.memory}`];
const memory = new Trend('service_memory_mib');
const roles = new Roles(given);
const duration = `${given.duration}s`;

export const options = {
    scenarios: {
        writers: writers(given, limits, 'write', TEN_WRITES.events, 10),
        readers: { exec: 'read', executor: 'constant-vus', vus: 2, duration },
        surface: { exec: 'compare', executor: 'constant-vus', vus: 1, duration },
        memory: { exec: 'watch', executor: 'constant-vus', vus: 1, duration },
    },
    thresholds: limits,
    teardownTimeout: '10m',
    summaryTrendStats: ['min', 'med', 'p(90)', 'p(99)', 'max'],
};

export function setup() {
    new Client(given).expectReady();
    return run(given, 'soak');
}

/** Says to which part of the run the following requests belong. */
function phase() {
    const passed = exec.instance.currentTestRunDuration / 1000 / given.duration;
    exec.vu.metrics.tags.phase = passed < 0.1 ? 'first' : (passed < 0.9 ? 'middle' : 'last');
}

export function write(data) {
    phase();
    roles.write(data);
}

export function read(data) {
    phase();
    roles.read(data);
}

export function compare(data) {
    phase();
    roles.compare(data);
}

/** Notes the resident memory of the service, where its metrics may be read. */
export function watch() {
    const answer = roles.client.get('metrics', '/metrics');
    const found = /^process_resident_memory_bytes ([\d.e+]+)$/m.exec(answer.body);
    if (found !== null) {
        memory.add(Number(found[1]) / 2 ** 20);
    }
    sleep(Math.min(10, given.duration / 20));
}

export function teardown({ topics }) {
    verify(given, roles.client, topics);
}
