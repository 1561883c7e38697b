/** For unit tests, without a host: samples of what the host hands over, and a stand-in for the host. */
import { utf8 } from "./bytes.ts";
import type { Command, Connector, Input as ConnectorInput, Action as ConnectorAction, Snapshot, State } from "./contract/connector.ts";
import type { Answer, Call, CivilTime, Now } from "./contract/hooks.ts";
import type { Action, Event, Input, Observer } from "./contract/observer.ts";
import type { Decision, Router } from "./contract/router.ts";
import type { Attributes } from "./contract/telephony.ts";
import type { Cause, Plan, WaitTreatment, Waiting } from "./contract/treatment.ts";

/** Noon of a Monday, UTC. */
export const NOW: Now = { monotonicNs: 1_000_000_000, wallNs: Date.UTC(2026, 10, 23, 12) * 1_000_000 };

/** A new call; what a test is about goes into `changes`. */
export function aCall(changes: Partial<Call> = {}): Call {
    return {
        id: "call-1",
        connector: "hq",
        entry: "",
        dialled: "500",
        caller: { number: "+4930123456", name: "", presentation: "allowed" },
        callerE164: "+4930123456",
        returnedFrom: "",
        outcome: "",
        attempt: 1,
        ageMs: 0,
        priority: null,
        language: "",
        variables: [],
        times: [aTime()],
        facts: [],
        ...changes,
    };
}

/** What the clock on the wall shows. */
export function aTime(changes: Partial<CivilTime> = {}): CivilTime {
    const noon = { year: 2026, month: 11, day: 23, weekday: 1, hour: 12, minute: 0, second: 0 };
    return { zone: "UTC", ...noon, dst: false, utcOffsetMinutes: 0, ...changes };
}

/** A caller who has just begun to wait. */
export function aWait(changes: Partial<Waiting> = {}): Waiting {
    return { call: aCall(), waitedMs: 0, then: null, facts: [], position: null, estimateSecs: null, ...changes };
}

/** An answer to a lookup. For a stored value the status is 200. */
export function anAnswer(id: string, status: number, body: string | object = ""): Answer {
    return { id, status, headers: [], body: utf8(typeof body === "string" ? body : JSON.stringify(body)), error: null };
}

/** There is no answer, and why: a code, e.g. `timed-out`, and a sentence. */
export function failedAnswer(id: string, code: string, message = ""): Answer {
    return { id, status: 0, headers: [], body: new Uint8Array(), error: { code, message, retryable: true } };
}

/** Why a treatment is called: a step failed, e.g. with `media-not-found`. */
export function aFailure(step: number, code: string, message = ""): Cause {
    return { tag: "failed", val: { step, error: { code, message, retryable: false } } };
}

/** Why a treatment is called: the caller pressed these keys, or was too slow (`timeout`). */
export function aCollection(keys: string, endedBy: "most" | "end-key" | "timeout" = "most"): Cause {
    return { tag: "collected", val: { keys, endedBy } };
}

/** A committed event. */
export function anEvent(seq: number, kind: string, data: object = {}, call = ""): Event {
    return { seq, kind, atNs: NOW.wallNs, call, json: JSON.stringify({ seq, type: kind, ...data }) };
}

const HOST: Attributes = [["host", "test"]];

/** A router as the host would start it. */
export function startRouter(router: Router, settings: object): (call?: Partial<Call>, answers?: Answer[]) => Decision {
    router.init({ id: "test", settings: JSON.stringify(settings), facts: HOST });
    return (call, answers = []) => router.route(NOW, aCall(call), answers);
}

/** A treatment as the host would start it: for one caller, whose state it keeps between calls. */
export function startTreatment(treatment: WaitTreatment, settings: object): (cause: Cause, waiting?: Partial<Waiting>, answers?: Answer[]) => Plan {
    treatment.init({ id: "test", settings: JSON.stringify(settings), facts: HOST });
    let state: Uint8Array = new Uint8Array();
    return (cause, waiting, answers = []) => {
        const plan = treatment.next(NOW, aWait(waiting), state, cause, answers);
        state = plan.state;
        return plan;
    };
}

/** An observer as the host would start it. */
export function startObserver(observer: Observer, settings: object): (...inputs: Input[]) => Action[] {
    observer.init({ id: "test", settings: JSON.stringify(settings), facts: HOST });
    return (...inputs) => observer.step(NOW, inputs);
}

/**
 * A connector with one link, as the host would start it. The host keeps the bytes that were not consumed.
 */
export class OneLink {
    readonly link: string;
    private readonly connector: Connector;
    private readonly state: State;
    private readonly settings: string;
    private epoch = 0;
    private offset = 0;
    private unread: number[] = [];

    constructor(exports: { connector: Connector; state: State }, link: string, settings: object) {
        this.connector = exports.connector;
        this.state = exports.state;
        this.link = link;
        this.settings = JSON.stringify(settings);
        this.init(null);
    }

    /** The connection is made. */
    up(): ConnectorAction[] {
        this.epoch += 1;
        this.offset = 0;
        this.unread = [];
        const nonce = new Uint8Array(32);
        return this.step({ tag: "link-up", val: { link: this.link, epoch: this.epoch, peer: "test", nonce, facts: [] } });
    }

    /** The PBX says this, in one piece. */
    receive(said: string): ConnectorAction[] {
        this.unread.push(...utf8(said));
        const data = Uint8Array.from(this.unread);
        return this.step({ tag: "bytes", val: { link: this.link, epoch: this.epoch, offset: this.offset, data } });
    }

    /** Somebody wants something done. */
    command(id: number, kind: string, args: { [name: string]: string } = {}): ConnectorAction[] {
        const command: Command = { id, kind, arguments: Object.entries(args), deadlineNs: NOW.monotonicNs + 5e9 };
        return this.step({ tag: "command", val: command });
    }

    /** The connection is gone. */
    down(): ConnectorAction[] {
        return this.step({ tag: "link-closed", val: { link: this.link, epoch: this.epoch, reason: "test" } });
    }

    /** A new instance takes over from a snapshot, on the same connection. */
    swap(): void {
        this.init(this.state.snapshot());
    }

    private init(snapshot: Snapshot | null): void {
        const links: [string, string][] = [[this.link, "tcp://test"]];
        this.connector.init({ id: "test", settings: this.settings, links, facts: HOST }, snapshot, NOW);
    }

    private step(input: ConnectorInput): ConnectorAction[] {
        const actions = this.connector.step(NOW, [input]);
        for (const action of actions) {
            if (action.tag !== "consumed") continue;
            this.unread.splice(0, action.val.offset - this.offset);
            this.offset = action.val.offset;
        }
        return actions;
    }
}
