import assert from "node:assert/strict";
import test from "node:test";

import { aFailure, startTreatment } from "../sdk/testing.ts";
import { answer, handOver, music, play, queue, wait, type Cause, type Plan } from "../sdk/treatment.ts";
import { settings, waitTreatment } from "../src/plugin.ts";

function planned(cause: Cause): Plan {
    return startTreatment(waitTreatment, { greeting: "welcome", keys: { "1": "sales" } })(cause);
}

test("a caller is greeted, hears music and is handed over", () => {
    const plan = planned({ tag: "started" });
    assert.deepEqual(plan.steps, [answer(), play("welcome"), music(), wait(20_000), handOver()]);
    assert.equal(plan.keys, "1");
});

test("a key chooses the queue", () => {
    const plan = planned({ tag: "key", val: "1" });
    assert.deepEqual(plan.steps, [handOver(queue("sales"))]);
    assert.equal(plan.reason, "the caller pressed 1");
});

test("a key that means nothing changes nothing", () => {
    assert.equal(planned({ tag: "key", val: "9" }).steps, null);
});

test("a recording that is not there is left out", () => {
    assert.deepEqual(planned(aFailure(1, "media-not-found")).steps, [music(), wait(20_000), handOver()]);
});

test("a key that is none is named", () => {
    const [problem] = settings.validate(JSON.stringify({ greeting: "welcome", keys: { "12": "sales" } }));
    assert.deepEqual([problem?.path, problem?.severity], ["keys.12", "error"]);
});
