// The parts of mixed load: who writes, who reads, who compares. A role keeps its state from
// iteration to iteration, for each VU alone.

import { sleep } from 'k6';
import exec from 'k6/execution';
import { Client } from './client.js';
import { Follower } from './follower.js';
import { Producer } from './producer.js';
import { pick } from './settings.js';

/** Events that ten iterations of `write` send: a stream, a transaction, and eight single ones. */
export const TEN_WRITES = { stream: 20, transaction: 5, events: 20 + 5 + 8 };

export class Roles {
    constructor(given) {
        this.given = given;
        this.client = new Client(given);
        this.producers = new Map();
        this.followers = new Map();
    }

    /** This VU's producer to a topic. */
    producer(topic) {
        if (!this.producers.has(topic)) {
            const producer = new Producer(this.given, this.client, topic, `vu${exec.vu.idInTest}`);
            this.producers.set(topic, producer);
        }
        return this.producers.get(topic);
    }

    follower(topic) {
        if (!this.followers.has(topic)) {
            this.followers.set(topic, new Follower(this.client, topic));
        }
        return this.followers.get(topic);
    }

    write({ topics }) {
        const producer = this.producer(pick(topics));
        const turn = exec.vu.iterationInScenario % 10;
        if (turn === 3) {
            producer.stream(producer.some(TEN_WRITES.stream));
        } else if (turn === 6) {
            producer.transaction(producer.some(TEN_WRITES.transaction));
        } else {
            const event = turn === 9 ? producer.again() : producer.fresh();
            if (producer.single(event) && turn === 8) {
                producer.readBack(event);
            }
        }
    }

    /** Reads on where the last iteration stopped; rests where nothing is new. */
    read({ topics }) {
        const follower = this.existing(pick(topics));
        if (follower === undefined || !follower.page(1000)) {
            sleep(0.1);
        }
    }

    /** Reads all that is new, and compares the surface with it. */
    compare({ topics }) {
        const follower = this.existing(pick(topics));
        if (follower !== undefined) {
            follower.catchUp();
            follower.compareSurface();
        }
        sleep(0.5);
    }

    /** The follower of a topic, once there is one: the first event makes it. */
    existing(topic) {
        if (!this.followers.has(topic) && !this.client.exists(topic)) {
            return undefined;
        }
        return this.follower(topic);
    }
}
