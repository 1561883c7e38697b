import assert from "node:assert/strict";
import test from "node:test";

import { attribute } from "../sdk/router.ts";
import { startRouter } from "../sdk/testing.ts";
import { router, settings } from "../src/plugin.ts";

const route = startRouter(router, { vip: ["+4930123456"], queue: "vip" });

test("a caller on the list goes to the VIP queue, before others", () => {
    const decision = route({ callerE164: "+4930123456" });
    assert.deepEqual(decision.verdict, {
        tag: "send",
        val: { tag: "queue", val: { name: "vip", priority: 10, timeoutSecs: 0, facts: [] } },
    });
    assert.equal(attribute(decision.patch.variables, "VIP"), "yes");
});

test("nobody else does", () => {
    assert.equal(route({ callerE164: "+493099999" }).verdict.tag, "pass");
});

test("a caller who comes back is left to the next router", () => {
    const decision = route({ returnedFrom: "queue", outcome: "timed-out" });
    assert.equal(decision.verdict.tag, "pass");
    assert.equal(decision.reason, "came back from a queue: timed-out");
});

test("a number that is none is named", () => {
    const [problem] = settings.validate(JSON.stringify({ vip: ["030 123"], queue: "vip" }));
    assert.deepEqual([problem?.path, problem?.severity], ["vip.0", "error"]);
});
