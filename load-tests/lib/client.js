// Requests to Tidelog. Every request is named, so that latencies are kept apart by what was asked.
//
// Not here: what the answers must say.

import http from 'k6/http';
import exec from 'k6/execution';
import { attempt, events_read } from './rules.js';

const JSON_TYPE = 'application/json';
const LINES_TYPE = 'application/x-ndjson';

export class Client {
    constructor(given) {
        this.url = given.url;
        this.headers = given.token === '' ? {} : { Authorization: `Bearer ${given.token}` };
    }

    /** Ends the run with a reason where the service cannot be used at all. */
    expectReady() {
        const ready = this.get('ready', '/health/ready');
        if (ready.status !== 200) {
            const found = ready.error || `status ${ready.status}`;
            exec.test.abort(`Tidelog is not ready at ${this.url}: ${found}. Set BASE_URL?`);
        }
        const topics = this.get('topics', '/v1/topics?limit=1');
        if (topics.status !== 200) {
            exec.test.abort(`Tidelog refuses to be read: ${topics.status} ${topics.body}. Set TOKEN?`);
        }
    }

    get(name, path, headers = {}) {
        return http.get(this.url + path, { headers: { ...this.headers, ...headers }, tags: { name } });
    }

    post(name, path, body, type, headers = {}, statuses = [200, 201]) {
        return http.post(this.url + path, body, {
            headers: { ...this.headers, 'Content-Type': type, ...headers },
            tags: { name },
            responseCallback: http.expectedStatuses(...statuses),
        });
    }

    /** Posts one event, as text. */
    event(topic, body, headers) {
        return this.post('event', `/v1/topics/${topic}/events`, body, JSON_TYPE, headers);
    }

    /** Posts lines as the body of one stream. */
    stream(topic, body, headers) {
        return this.post('stream', `/v1/topics/${topic}/events`, body, LINES_TYPE, headers);
    }

    transaction(topic, body, headers, statuses) {
        const path = `/v1/topics/${topic}/transactions`;
        return this.post('transaction', path, body, JSON_TYPE, headers, statuses);
    }

    invalidation(topic, transaction) {
        const path = `/v1/topics/${topic}/transactions/${transaction}/invalidation`;
        return this.post('invalidation', path, '{"reason":"load test"}', JSON_TYPE);
    }

    /** The JSON at a path; undefined, and an error, where there is none. */
    read(name, path) {
        const answer = this.get(name, path);
        const succeeded = answer.status === 200;
        attempt(succeeded, () => describe(`GET ${path}`, answer));
        const found = succeeded ? parse(answer.body) : undefined;
        if (found !== undefined && found.events instanceof Array) {
            events_read.add(found.events.length);
        }
        return found;
    }

    topic(topic) {
        return this.read('topic', `/v1/topics/${topic}`);
    }

    /** Whether a topic has an event yet. */
    exists(topic) {
        const options = { headers: this.headers, tags: { name: 'exists' } };
        options.responseCallback = http.expectedStatuses(200, 404);
        const answer = http.get(`${this.url}/v1/topics/${topic}`, options);
        const known = answer.status === 200 || answer.status === 404;
        attempt(known, () => describe(topic, answer));
        return answer.status === 200;
    }

    page(topic, query) {
        return this.read('page', `/v1/topics/${topic}/events?${query}`);
    }

    latest(topic, key) {
        return this.read('latest', `/v1/topics/${topic}/latest?key=${encodeURIComponent(key)}`);
    }

    /** All of a surface, page by page; undefined where a page fails. */
    surface(topic, query = '') {
        const events = [];
        let after = '';
        for (;;) {
            const path = `/v1/topics/${topic}/surface?limit=2000${query}${after}`;
            const page = this.read('surface', path);
            if (page === undefined) {
                return undefined;
            }
            events.push(...page.events);
            if (page.next === null) {
                return events;
            }
            after = `&after=${encodeURIComponent(page.next)}`;
        }
    }
}

/** The JSON of a body; null where it is none. */
export function parse(body) {
    try {
        return JSON.parse(body);
    } catch (_) {
        return null;
    }
}

/** The JSON of each line of a body; null where one is none, or the last one is cut. */
export function parseLines(body) {
    if (typeof body !== 'string' || !body.endsWith('\n')) {
        return null;
    }
    return parse(`[${body.slice(0, -1).replaceAll('\n', ',')}]`);
}

/** Whether nothing was written, for certain, by a request that failed. */
export function certainlyNotCommitted(problem) {
    return problem !== null && typeof problem === 'object' && problem.committed === 'no';
}

export function describe(what, answer) {
    const body = answer.error || String(answer.body).slice(0, 300);
    return `${what}: ${answer.status} ${body}`;
}
