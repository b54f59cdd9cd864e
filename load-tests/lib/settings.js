// What a run is told by its environment, and the thresholds that it is judged by.
//
// Every script has defaults of its own that are sensible alone; `load-tests/README.md` lists them.

import exec from 'k6/execution';

const UNITS = { ms: 0.001, s: 1, m: 60, h: 3600 };

function text(name, fallback) {
    return __ENV[name] === undefined || __ENV[name] === '' ? fallback : __ENV[name];
}

function number(name, fallback, least, whole = true) {
    const value = Number(text(name, fallback));
    if (!(value >= least) || (whole && !Number.isInteger(value))) {
        throw new Error(`${name}=${__ENV[name]}: give a ${whole ? 'whole ' : ''}number from ${least}`);
    }
    return value;
}

function seconds(name, fallback) {
    const given = text(name, fallback);
    const parts = given.match(/\d+(ms|s|m|h)/g) || [];
    if (parts.join('') !== given) {
        throw new Error(`${name}=${given}: give a duration like 30s, 1m30s or 2h`);
    }
    return parts.reduce((sum, part) => {
        const [, count, unit] = part.match(/(\d+)(\D+)/);
        return sum + Number(count) * UNITS[unit];
    }, 0);
}

/** The environment over the script's own defaults. */
export function settings(defaults = {}) {
    return {
        url: text('BASE_URL', 'http://127.0.0.1:4810').replace(/\/$/, ''),
        token: text('TOKEN', ''),
        prefix: text('TOPIC_PREFIX', 'load-'),
        /** Seconds of each scenario. */
        duration: seconds('DURATION', defaults.duration || '30s'),
        /** Events a second, of all VUs together; 0 is as many as the VUs can. */
        rate: number('RATE', defaults.rate || 0, 0),
        vus: number('VUS', defaults.vus || 10, 1),
        topics: number('TOPICS', defaults.topics || 4, 1),
        /** Lines of a stream, or events of a transaction. */
        events: number('EVENTS', defaults.events || 1, 1),
        /** Keys of each VU in each topic. */
        keys: number('KEYS', defaults.keys || 100, 1),
        /** Bytes of the data of an event, about. */
        bytes: number('EVENT_BYTES', 200, 20),
        /** Events at the end of each topic that are read again when the load is over. */
        verify: number('VERIFY_EVENTS', 20000, 1),
        p99: number('P99_MS', defaults.p99 || 500, 1),
        errors: number('ERRORS_MAX', 0.001, 0, false),
        dropped: number('DROPPED_MAX', 0.05, 0, false),
        memory: number('MEMORY_MAX_MIB', 1024, 1),
    };
}

/**
 * Thresholds on correctness (nothing is forgiven), on errors, and on the latency of the named
 * requests. A run that did nothing at all has not passed either.
 */
export function thresholds(given, names) {
    const limits = {
        checks: ['rate==1'],
        errors: [`rate<=${given.errors}`],
        acknowledged: ['count>0'],
    };
    for (const name of names) {
        limits[`http_req_duration{name:${name}}`] = [`p(99)<${given.p99}`];
    }
    return limits;
}

/**
 * A scenario of writers: RATE events a second where a rate is given (then it also matters how many
 * of them had to be left out), and else VUS that write as fast as they are answered. `events` is
 * how many events `iterations` iterations write.
 */
export function writers(given, limits, exec, events, iterations = 1) {
    const duration = `${given.duration}s`;
    if (given.rate === 0) {
        return { exec, executor: 'constant-vus', vus: given.vus, duration };
    }
    limitDropped(given, limits, (given.rate * iterations) / events);
    return {
        exec,
        executor: 'constant-arrival-rate',
        rate: given.rate * iterations,
        timeUnit: `${events}s`,
        preAllocatedVUs: given.vus,
        duration,
    };
}

/** Fails a run that could not send what it should have sent. */
export function limitDropped(given, limits, iterationsPerSecond) {
    const most = (iterationsPerSecond * given.dropped).toFixed(2);
    limits.dropped_iterations = [`rate<=${most}`];
}

/** What all VUs share: fresh names for the topics of this run. */
export function run(given, script) {
    const id = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`;
    const topics = [];
    for (let n = 0; n < given.topics; n += 1) {
        topics.push(`${given.prefix}${script}-${id}-${n}`);
    }
    return { topics };
}

/** The topic of this iteration: VUs go round all topics, each from another one on. */
export function pick(topics) {
    return topics[(exec.vu.idInTest + exec.vu.iterationInScenario) % topics.length];
}
