import assert from "node:assert/strict";
import test from "node:test";

import { text, type Action } from "../sdk/connector.ts";
import { OneLink } from "../sdk/testing.ts";
import { connector, state } from "../src/plugin.ts";

/** A host, and a PBX that has one call. */
function connected(): { host: OneLink; begin: Action[] } {
    const host = new OneLink({ connector, state }, "line", {});
    const begin = host.up();
    begin.push(...host.receive("HAS 16 up 5550000\nEND\n"));
    return { host, begin };
}

function facts(actions: Action[]): object[] {
    return actions.flatMap((action) => (action.tag === "event" ? [action.val.fact] : []));
}

test("after each connect the picture is told", () => {
    const { begin } = connected();
    const sent = begin.flatMap((action) => (action.tag === "send" ? action.val.parts : []));
    assert.equal(sent.map((part) => (part.tag === "literal" ? text(part.val) : "")).join(""), "HELLO jackfield\nLIST\n");
    const told = begin.map((action) => action.tag).filter((tag) => tag.startsWith("resync"));
    assert.deepEqual(told, ["resync-begin", "resync-item", "resync-end"]);
});

test("however the bytes are cut the facts are the same, and another version may take over in between", () => {
    const lines = "RING 17 5551234\nUP 17\r\nBYE 17 16\n";
    const whole = facts(connected().host.receive(lines));
    assert.equal(whole.length, 3);
    for (let size = 1; size < lines.length; size++) {
        const { host } = connected();
        const cut: Action[] = [];
        for (let at = 0; at < lines.length; at += size) {
            cut.push(...host.receive(lines.slice(at, at + size)));
            host.swap();
        }
        assert.deepEqual(facts(cut), whole, `in pieces of ${size}`);
    }
});

test("nonsense is logged and costs nothing", () => {
    assert.equal(facts(connected().host.receive("\u0000\n\nBYE\nRING 17 5551234\n")).length, 1);
});

test("every command ends exactly once", () => {
    const { host } = connected();
    const outcome = (kind: string) =>
        host.command(1, kind).flatMap((action) => (action.tag === "command-outcome" ? [action.val.outcome] : []));
    assert.deepEqual(outcome("pause"), ["rejected"]);
    assert.deepEqual(outcome("resync"), ["done"]);
});
