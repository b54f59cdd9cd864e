// A follower: reads the log of a topic from its own place on, folds it, and compares it with the
// surface. It trusts nothing but the log, and the log must have no gaps.

import { rule } from './rules.js';

const GAPS = 'reads have no gaps';
const WHOLE = 'transactions are whole and numbered without gaps';
const VERSIONS = 'every version of a key is in the log, once and in order';
const SURFACE = 'the surface is the newest event of each key';

export class Follower {
    /** `from` is where it begins; 0 is the beginning of the topic. */
    constructor(client, topic, from = 0) {
        Object.assign(this, { client, topic, from });
        this.seq = from;
        this.transaction = from === 0 ? -1 : undefined;
        this.open = false;
        /** The versions of each key that stand, newest last: `{ seq, transaction, n }`. */
        this.keys = new Map();
        this.invalidations = 0;
        /** Remember all versions of a key, for topics with invalidations, or only the newest. */
        this.histories = false;
        /** With histories: the keys of each transaction. */
        this.written = new Map();
    }

    /** Reads a page; answers whether there is more. */
    page(limit) {
        const page = this.client.page(this.topic, `from=${this.seq}&limit=${limit}`);
        if (page === undefined) {
            return false;
        }
        const wrong = {};
        for (const event of page.events) {
            this.take(event, wrong);
        }
        if (page.next !== null && page.next !== this.seq) {
            wrong[GAPS] = `a page up to ${this.seq - 1} goes on with ${page.next}`;
        }
        if (page.next === null && this.seq !== page.head.seq + 1) {
            wrong[GAPS] = `the last page ends before ${this.seq}, the head is ${page.head.seq}`;
        }
        if (this.open) {
            wrong[WHOLE] = `a page ends inside transaction ${this.transaction}`;
        }
        for (const name of [GAPS, WHOLE, VERSIONS]) {
            rule(name, wrong[name] === undefined, () => `${this.topic}: ${wrong[name]}`);
        }
        return page.next !== null;
    }

    take(event, wrong) {
        if (event.seq !== this.seq) {
            wrong[GAPS] = `seq ${event.seq} where ${this.seq} should be`;
        }
        const expected = this.open ? this.transaction : this.transaction + 1;
        if (this.transaction !== undefined && event.transaction !== expected) {
            wrong[WHOLE] = `seq ${event.seq} is in transaction ${event.transaction}, not ${expected}`;
        }
        this.seq = event.seq + 1;
        this.transaction = event.transaction;
        this.open = !event.last;
        if (event.invalidates !== undefined) {
            this.invalidate(event.invalidates);
            return;
        }
        const known = this.keys.get(event.key);
        const n = known === undefined ? 0 : known.n + 1;
        if (event.data.n !== n && (known !== undefined || this.from === 0)) {
            wrong[VERSIONS] = `${event.key} at ${event.seq} has n=${event.data.n} instead of ${n}`;
        }
        const standing = this.histories && known !== undefined ? known.standing : [];
        standing.push({ seq: event.seq, transaction: event.transaction });
        this.keys.set(event.key, { n: event.data.n, standing });
        if (this.histories) {
            const keys = this.written.get(event.transaction) || [];
            this.written.set(event.transaction, keys.concat(event.key));
        }
    }

    invalidate(transaction) {
        this.invalidations += 1;
        for (const key of this.written.get(transaction) || []) {
            const known = this.keys.get(key);
            known.standing = known.standing.filter((version) => version.transaction !== transaction);
        }
    }

    /** Reads everything that is there. */
    catchUp(limit = 2000) {
        while (this.page(limit));
    }

    /**
     * Compares the surface as of what was read with the fold of it. A follower that began in the
     * middle knows nothing of keys that are older, except that they are older.
     */
    compareSurface() {
        if (this.transaction === undefined || this.transaction < 0) {
            return;
        }
        const surface = this.client.surface(this.topic, `&as_of=${this.transaction}`);
        if (surface !== undefined) {
            const wrong = this.wrongWith(surface);
            rule(SURFACE, wrong === undefined, () => `${this.topic} as of ${this.transaction}: ${wrong}`);
        }
    }

    wrongWith(surface) {
        let found = 0;
        let before = '';
        for (const { key, seq } of surface) {
            const known = this.keys.get(key);
            const newest = known && known.standing[known.standing.length - 1];
            if (key <= before) {
                return `${key} comes after ${before}`;
            }
            if (newest !== undefined ? newest.seq !== seq : seq >= this.from) {
                return `${key} is at ${seq}, its newest is ${JSON.stringify(newest)}`;
            }
            found += newest === undefined ? 0 : 1;
            before = key;
        }
        const standing = [...this.keys.values()].filter((known) => known.standing.length > 0).length;
        return found === standing ? undefined : `${found} keys, the log has ${standing}`;
    }
}

/** When the load is over: reads the end of each topic, and compares it with its surface. */
export function verify(given, client, topics, histories = false) {
    for (const topic of topics) {
        const found = client.exists(topic) ? client.topic(topic) : undefined;
        if (found === undefined) {
            continue;
        }
        const from = Math.max(0, found.head.seq + 1 - given.verify);
        const follower = new Follower(client, topic, from);
        follower.histories = histories;
        follower.catchUp();
        if (from === 0 || follower.invalidations === 0) {
            follower.compareSurface();
        }
    }
}
