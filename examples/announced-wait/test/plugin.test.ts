import assert from "node:assert/strict";
import test from "node:test";

import { aFailure, startTreatment } from "../sdk/testing.ts";
import { answer, attribute, handOver, music, play, queue, wait } from "../sdk/treatment.ts";
import { waitTreatment } from "../src/plugin.ts";

const SETTINGS = { announcement: "please-wait", greeting: "welcome", queue: "vip", every_secs: 10, most_secs: 60 };

test("greeting, music, announcement, music again", () => {
    const next = startTreatment(waitTreatment, SETTINGS);
    const round = [music(), wait(10_000), play("please-wait")];
    assert.deepEqual(next({ tag: "started" }).steps, [answer(), play("welcome"), ...round]);
    const again = next({ tag: "finished" }, { waitedMs: 13_000 });
    assert.deepEqual(again.steps, round);
    assert.equal(again.keys, "1");
});

test("the key leads into the queue, before others, and says so", () => {
    const next = startTreatment(waitTreatment, SETTINGS);
    next({ tag: "started" });
    next({ tag: "finished" }, { waitedMs: 13_000 });
    const plan = next({ tag: "key", val: "1" }, { waitedMs: 15_200 });
    assert.deepEqual(plan.steps, [handOver(queue("vip", { priority: 5 }))]);
    assert.equal(plan.reason, "pressed 1 after 15 s and 1 announcements");
    assert.equal(attribute(plan.patch.variables, "PRESSED"), "1");
});

test("nobody waits for longer than the admin says", () => {
    const next = startTreatment(waitTreatment, SETTINGS);
    next({ tag: "started" });
    assert.deepEqual(next({ tag: "finished" }, { waitedMs: 55_000 }).steps, [music(), wait(5_000)]);
    assert.deepEqual(next({ tag: "finished" }, { waitedMs: 60_000 }).steps, [handOver()]);
});

test("a recording that is not there costs nobody a call, and is not asked for again", () => {
    const next = startTreatment(waitTreatment, SETTINGS);
    next({ tag: "started" });
    assert.deepEqual(next(aFailure(3, "media-not-found"), { waitedMs: 13_000 }).steps, [music(), wait(10_000)]);
    assert.deepEqual(next({ tag: "finished" }, { waitedMs: 23_000 }).steps, [music(), wait(10_000)]);
});

test("a queue that takes nobody is tried twice more, then the router's word counts", () => {
    const next = startTreatment(waitTreatment, SETTINGS);
    next({ tag: "started" });
    for (const round of [1, 2]) {
        assert.equal(next({ tag: "came-back", val: "no-such-queue" }).steps?.[0]?.tag, "music", `round ${round}`);
    }
    assert.deepEqual(next({ tag: "came-back", val: "no-such-queue" }).steps, [handOver()]);
});
