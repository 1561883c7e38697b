// Everything the SDK makes for an author fits the contract, without a word about what may grow.
import assert from "node:assert/strict";
import test from "node:test";

import * as link from "../sdk/connector.ts";
import { ActionShape as ConnectorActionShape, type Command } from "../sdk/contract/connector.ts";
import { LookupShape, StoreShape, TargetShape } from "../sdk/contract/hooks.ts";
import { ActionShape } from "../sdk/contract/observer.ts";
import { DecisionShape } from "../sdk/contract/router.ts";
import { PlanShape, StepShape } from "../sdk/contract/treatment.ts";
import * as watch from "../sdk/observer.ts";
import * as route from "../sdk/router.ts";
import { flaw, type Shape } from "../sdk/shape.ts";
import { aFailure, anAnswer, failedAnswer, NOW } from "../sdk/testing.ts";
import * as comfort from "../sdk/treatment.ts";

function fits(shape: Shape, ...values: unknown[]): void {
    for (const value of values) assert.equal(flaw(value, shape), null, JSON.stringify(value));
}

const lookups = [
    route.http("crm", "https://crm.example.org", { method: "POST", body: "x", secretHeaders: [route.secretHeader("authorization", "Bearer ", "crm")] }),
    route.stored("last", "key"),
];

test("places to go", () => {
    fits(TargetShape, route.queue("a"), route.extension("500"), route.dialplan("from-inside", "500"), route.continueInDialplan());
    assert.deepEqual(route.hangUp(17), { tag: "hang-up", val: { q850: 17, facts: [] } });
});

test("what is asked and kept", () => {
    fits(LookupShape, ...lookups);
    fits(StoreShape, route.store("a", "b"), route.store("a", null));
});

test("decisions", () => {
    fits(DecisionShape, route.pass(), route.send(route.hangUp(), "closed"), route.treat({}, "busy"), route.need(lookups));
});

test("plans and their steps", () => {
    const { answer, collect, handOver, music, play, sayDigits, sayNumber, silence, wait } = comfort;
    const steps = [answer(), play("a"), sayNumber(1), sayDigits("1"), music(), silence(), collect({ most: 4 }), wait(1), handOver()];
    fits({ list: StepShape }, steps);
    fits(PlanShape, comfort.plan(null, steps, { lookups, stores: { a: "b" } }), comfort.goOn({ round: 1 }));
});

test("an observer's actions", () => {
    fits(ActionShape, watch.ack(1), watch.lookup(lookups[0]!), watch.store("a", null), watch.wakeIn(NOW, 1));
});

test("a connector's actions", () => {
    const command: Command = { id: 1, kind: "probe", arguments: [], deadlineNs: 0 };
    const fact = { tag: "leg-state", val: { leg: "1", state: "answered" } } as const;
    fits(ConnectorActionShape, link.consumed("line", 1), link.send("line", 1, "a", link.secret("password", "plain")), link.close("line", "done"));
    fits(ConnectorActionShape, link.fact(fact), link.fact(fact, 1, { trunk: "a" }), ...link.picture(1, "calls", [fact]), link.wakeIn(NOW, 1));
    fits(ConnectorActionShape, link.done(command), link.failed(command, "refused", ""), link.rejected(command, "unknown-command", ""));
    fits(ConnectorActionShape, link.http(1, "https://pbx.example.org", { body: ["client_secret=", link.secret("pbx", "plain")], secretHeaders: [link.secretHeader("authorization", "Bearer ", "pbx")] }));
    const texts = [link.send("ws", 1, "a"), link.sendText("ws", 1, "a")].map((action) => action.tag === "send" && action.val.text);
    assert.deepEqual(texts, [false, true]);
});

test("an answer that failed says why, and is none that worked", () => {
    const failed = failedAnswer("crm", "timed-out", "nothing came for 2 s");
    assert.equal(failed.error?.message, "nothing came for 2 s");
    assert.deepEqual([failed, anAnswer("crm", 404), anAnswer("crm", 200)].map(route.worked), [false, false, true]);
    const cause = aFailure(1, "media-not-found");
    assert.equal(cause.tag === "failed" && cause.val.error.code, "media-not-found");
});

test("a validation that answers nonsense is a problem with the settings, not a trap", () => {
    const { settings } = route.defineRouter({ route: () => route.pass(), validate: () => [{ path: "a", message: "b" }] as never });
    const [problem] = settings.validate("{}");
    assert.match(problem?.message ?? "", /validate\[0\]\.severity is undefined/);
});
