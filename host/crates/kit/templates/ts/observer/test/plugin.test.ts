import assert from "node:assert/strict";
import test from "node:test";

import { ack, store, type Action } from "../sdk/observer.ts";
import { anEvent, startObserver } from "../sdk/testing.ts";
import { observer } from "../src/plugin.ts";

function observed(seq: number, kind: string): { actions: Action[]; json: string } {
    const event = anEvent(seq, kind, {}, "c1");
    return { actions: startObserver(observer, { keep: 10 })({ tag: "event", val: event }), json: event.json };
}

test("a call that ended is kept and acknowledged", () => {
    const { actions, json } = observed(17, "call.ended");
    assert.deepEqual(actions, [store("ended.7", json), ack(17)]);
});

test("other events are acknowledged only", () => {
    assert.deepEqual(observed(3, "call.started").actions, [ack(3)]);
});

test("an event that comes again changes nothing", () => {
    assert.deepEqual(observed(17, "call.ended"), observed(17, "call.ended"));
});
