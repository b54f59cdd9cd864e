// How a script says what must hold, and counts what happened.

import { check } from 'k6';
import { Counter, Rate } from 'k6/metrics';

/** Requests (or lines of streams) that were not answered as they should be. */
export const errors = new Rate('errors');
/** Events acknowledged, and of these: duplicates. */
export const acknowledged = new Counter('acknowledged');
export const duplicates = new Counter('duplicates');
/** Events read. */
export const events_read = new Counter('events_read');

/** Complaints that a VU prints; the rest is only counted. */
const COMPLAINTS = 5;
/** Characters of a complaint; events may be long. */
const LENGTH = 300;
let complaints = 0;

function complain(text) {
    complaints += 1;
    if (complaints <= COMPLAINTS) {
        console.error(text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text);
    }
}

/** One of the promises. A promise that is broken once fails the run. */
export function rule(name, holds, detail) {
    check(null, { [name]: holds });
    if (!holds) {
        complain(`BROKEN: ${name}: ${detail()}`);
    }
    return holds;
}

/** Whether a request did what it should; not a promise, as services may be overloaded. */
export function attempt(succeeded, detail) {
    errors.add(!succeeded);
    if (!succeeded) {
        complain(`failed: ${detail()}`);
    }
    return succeeded;
}
