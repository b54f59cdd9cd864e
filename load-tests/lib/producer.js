// A producer: what one VU sends to one topic, and what it was promised for it.
//
// Its keys are its own, so it knows what every answer must say: which events are duplicates, and of
// which version. The versions of a key carry a number `n`, 0, 1, 2 …, so that whoever reads the log
// can see that none is missing, none is there twice, and all are in order (`follower.js`).

import { certainlyNotCommitted, describe, parse, parseLines } from './client.js';
import { acknowledged, attempt, duplicates, rule } from './rules.js';

const ONE_ACK_A_LINE = 'acks come in order, one a line';
const RISE = 'versions rise';
const DUPLICATES = 'duplicates are found, and only duplicates';
const THERE = 'a duplicate has the version that is there';
const SUMMARY = 'the summary of a stream says what its acks say';
const ATOMIC = 'a transaction is acknowledged as one';
const READ_BACK = 'what was acknowledged can be read';

export class Producer {
    /** `name` must be of this VU only. */
    constructor(given, client, topic, name) {
        Object.assign(this, { given, client, topic, name });
        this.keys = [];
        this.turn = 0;
        this.newest = { seq: -1, transaction: -1 };
        this.padding = 'x'.repeat(Math.max(0, given.bytes - 16));
    }

    /** A new version of the next key. */
    fresh() {
        const slot = this.turn % this.given.keys;
        this.turn += 1;
        if (this.keys[slot] === undefined) {
            this.keys[slot] = { name: `${this.name}.${slot}`, next: 0, version: null, stands: false };
        }
        return this.version(this.keys[slot]);
    }

    /** A new version of a key. */
    version(key) {
        key.stands = true;
        key.next += 1;
        return { key, n: key.next - 1, duplicate: false };
    }

    /** The newest version of some key once more; a new version where no key has one. */
    again() {
        const key = this.keys[Math.floor(Math.random() * this.keys.length)];
        if (key === undefined || !key.stands) {
            return this.fresh();
        }
        return { key, n: key.next - 1, duplicate: true };
    }

    /** New versions, and duplicates in between: one of `every` events. */
    some(count, every = 5) {
        const events = [];
        for (let i = 1; i <= count; i += 1) {
            events.push(i % every === 0 ? this.again() : this.fresh());
        }
        return events;
    }

    body({ key, n }) {
        return `{"key":"${key.name}","data":{"n":${n},"pad":"${this.padding}"}}`;
    }

    /** Takes back what was not answered. Where it may be there all the same, its key is given up. */
    forget(events, certain) {
        for (const { key, n, duplicate } of events) {
            if (duplicate) {
                continue;
            }
            if (certain) {
                key.next = Math.min(key.next, n);
                key.stands = false;
            } else if (this.keys.includes(key)) {
                const slot = this.keys.indexOf(key);
                const name = `${key.name}+`;
                this.keys[slot] = { name, next: 0, version: null, stands: false };
            }
        }
    }

    /** Takes an ack of an event: answers what is wrong with it, by rule. */
    settle(event, ack, wrong, transaction) {
        const said = () => JSON.stringify(ack);
        if (ack.duplicate !== event.duplicate) {
            wrong(DUPLICATES, () => `${event.key.name} n=${event.n}: ${said()}`);
        }
        if (event.duplicate) {
            const { seq, transaction: number } = event.key.version || {};
            if (ack.seq !== seq || ack.transaction !== number) {
                wrong(THERE, () => `${event.key.name} is at ${seq}, ${number}: ${said()}`);
            }
            duplicates.add(1);
        } else {
            const { seq, transaction: number } = this.newest;
            const follows = transaction === undefined ? ack.transaction > number
                : ack.transaction === transaction;
            if (!(ack.seq > seq) || !follows) {
                wrong(RISE, () => `after ${seq}, ${number}: ${said()}`);
            }
            this.newest = { seq: ack.seq, transaction: ack.transaction };
            event.key.version = this.newest;
        }
        acknowledged.add(1);
    }

    /** Sends one event. */
    single(event) {
        const answer = this.client.event(this.topic, this.body(event));
        const ack = parse(answer.body);
        const status = event.duplicate ? 200 : 201;
        const succeeded = answer.status === 200 || answer.status === 201;
        if (!attempt(succeeded, () => describe('event', answer))) {
            this.forget([event], certainlyNotCommitted(ack));
            return false;
        }
        const verdict = new Verdict([RISE, DUPLICATES, THERE]);
        this.settle(event, ack || {}, verdict.wrong);
        if (answer.status !== status) {
            verdict.wrong(DUPLICATES, () => `status ${answer.status} instead of ${status}`);
        }
        verdict.give();
        return true;
    }

    /** Sends events as one transaction, and answers what was said. */
    transaction(events, headers) {
        const body = `{"events":[${events.map((event) => this.body(event)).join(',')}]}`;
        const answer = this.client.transaction(this.topic, body, headers);
        const said = parse(answer.body);
        const succeeded = answer.status === 200 || answer.status === 201;
        if (!attempt(succeeded, () => describe('transaction', answer))) {
            this.forget(events, certainlyNotCommitted(said));
            return undefined;
        }
        const verdict = new Verdict([RISE, DUPLICATES, THERE, ATOMIC]);
        this.settleTransaction(events, said || {}, verdict.wrong);
        verdict.give();
        return { answer, body, said };
    }

    settleTransaction(events, said, wrong) {
        const acks = said.events || [];
        const writes = events.some((event) => !event.duplicate);
        const before = this.newest.transaction;
        const rises = writes ? said.transaction > before : said.transaction === null;
        if (acks.length !== events.length || !rises) {
            wrong(ATOMIC, () => `${events.length} events after ${before}: ${JSON.stringify(said)}`);
        }
        events.forEach((event, i) => this.settle(event, acks[i] || {}, wrong, said.transaction));
    }

    /**
     * Sends lines (events, and arrays of events that are transactions) as one stream. `refused` is
     * the number of the line that is wrong on purpose, if one is. Answers the acks.
     */
    stream(lines, headers = {}, refused = 0) {
        const text = lines.map((line) => (line instanceof Array
            ? `{"events":[${line.map((event) => this.body(event)).join(',')}]}`
            : this.body(line)));
        if (refused > 0) {
            text.splice(refused - 1, 0, '{"key":"","data":"an empty key is refused"}');
        }
        const body = `${text.join('\n')}\n`;
        const answer = this.client.stream(this.topic, body, headers);
        const said = answer.status === 200 ? parseLines(answer.body) : null;
        const end = said === null ? undefined : said[said.length - 1];
        if (!attempt(end !== undefined && 'summary' in end, () => describe('stream', answer))) {
            const certain = answer.status >= 400 && certainlyNotCommitted(parse(answer.body));
            this.forget(lines.flat(), certain);
            return undefined;
        }
        return { body, acks: this.settleStream(lines, said, refused) };
    }

    settleStream(lines, said, refused) {
        const { summary } = said.pop();
        const failure = said.length > 0 && 'error' in said[said.length - 1] ? said.pop() : undefined;
        const verdict = new Verdict([ONE_ACK_A_LINE, RISE, DUPLICATES, THERE, SUMMARY]);
        const expected = refused > 0 ? refused - 1 : lines.length;
        if (refused > 0) {
            const found = failure && failure.line === refused && failure.error.status === 422;
            if (!found) {
                verdict.wrong(ONE_ACK_A_LINE, () => `line ${refused} is not refused: ${JSON.stringify(failure)}`);
            }
        } else {
            attempt(failure === undefined, () => `line of a stream: ${JSON.stringify(failure)}`);
        }
        if (failure === undefined || refused > 0) {
            if (said.length !== expected) {
                verdict.wrong(ONE_ACK_A_LINE, () => `${said.length} acks for ${expected} lines`);
            }
        }
        let written = 0;
        said.forEach((ack, i) => {
            const line = lines[i] || [];
            if (ack.line !== i + 1) {
                verdict.wrong(ONE_ACK_A_LINE, () => `ack ${i + 1}: ${JSON.stringify(ack)}`);
            }
            if (line instanceof Array) {
                this.settleTransaction(line, ack, verdict.wrong);
            } else {
                this.settle(line, ack, verdict.wrong);
            }
            written += [line].flat().filter((event) => !event.duplicate).length;
        });
        const rest = lines.slice(said.length).flat();
        this.forget(rest, refused > 0 || (failure && certainlyNotCommitted(failure.error)));
        const complete = failure === undefined;
        const agrees = summary.lines === said.length && summary.written === written
            && summary.complete === complete && (!complete || summary.head.seq >= this.newest.seq);
        if (!agrees) {
            verdict.wrong(SUMMARY, () => `${said.length} acks, ${written} written: ${JSON.stringify(summary)}`);
        }
        verdict.give();
        return said;
    }

    /** Reads the newest version of a key, which must be the one that was acknowledged. */
    readBack({ key }) {
        const event = this.client.latest(this.topic, key.name);
        if (event === undefined || key.version === null || !key.stands) {
            return;
        }
        const { seq, transaction } = key.version;
        const same = event.seq === seq && event.transaction === transaction
            && event.key === key.name && event.data.n === key.next - 1;
        rule(READ_BACK, same, () => `${key.name} at ${seq}, ${transaction}: ${JSON.stringify(event)}`);
    }
}

/** Whether each rule held in an answer: one check a rule and answer, however many acks it has. */
class Verdict {
    constructor(rules) {
        this.found = new Map(rules.map((name) => [name, undefined]));
        this.wrong = (name, detail) => {
            this.found.set(name, this.found.get(name) || detail());
        };
    }

    give() {
        for (const [name, detail] of this.found) {
            rule(name, detail === undefined, () => detail);
        }
    }
}
