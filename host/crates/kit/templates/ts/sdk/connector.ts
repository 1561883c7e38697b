/**
 * A connector: a pure state machine between a PBX's bytes and facts about its calls.
 *
 *     export const { connector, state, settings } = defineConnector<Settings>(MyConnector);
 */
import { utf8 } from "./bytes.ts";
import {
    ActionShape, SnapshotShape,
    type Action, type Command, type Config, type Connector, type Input, type Now, type Part, type SecretHeader, type Snapshot,
    type State,
} from "./contract/connector.ts";
import type { Problem, Settings as SettingsExport } from "./contract/settings.ts";
import type { Fact } from "./contract/telephony.ts";
import { answering, fail, parsed, settingsExport } from "./glue.ts";
import type { Shape } from "./shape.ts";

export { text, utf8 } from "./bytes.ts";
export { fail, PluginError, problem } from "./glue.ts";
export { log } from "./log.ts";
export type {
    Action, Bytes, Command, Config, HttpResponse, Input, LinkClosed, LinkUp, Message, Now, Part, SecretHeader, Snapshot,
} from "./contract/connector.ts";
export type { Problem } from "./contract/settings.ts";
export type * from "./contract/telephony.ts";

/** What you write: a class, of which the host makes one object per instance. */
export interface ConnectorPlugin {
    /** One transaction: its actions happen, in order, only if it returned. */
    step(now: Now, inputs: Input[]): Action[];
    /** The state now, without bytes that were not consumed. Without it a crash or a swap costs a reconnect. */
    snapshot?(): Snapshot;
}

/** How the host makes one. With a snapshot it goes on where that was taken, on the same open links. */
export interface ConnectorClass<Settings> {
    new (settings: Settings, snapshot: Snapshot | null, now: Now, config: Config): ConnectorPlugin;
    /** A second look at settings that fit the schema: what is wrong with them. */
    validate?(settings: Settings): Problem[];
}

const ACTIONS: Shape = { list: ActionShape };

/** Makes the component's exports of it. */
export function defineConnector<Settings>(plugin: ConnectorClass<Settings>): {
    connector: Connector;
    state: State;
    settings: SettingsExport;
} {
    let instance: ConnectorPlugin | null = null;
    const running = (): ConnectorPlugin => {
        if (instance === null) throw fail("not-initialised", "the host called a step before init");
        return instance;
    };
    return {
        connector: {
            init(config, snapshot, now) {
                return answering("init", ACTIONS, () => {
                    instance = new plugin(parsed<Settings>(config.settings), snapshot, now, config);
                    return [];
                });
            },
            step(now, inputs) {
                return answering("step", ACTIONS, () => running().step(now, inputs));
            },
        },
        state: {
            snapshot() {
                return answering("snapshot", SnapshotShape, () => {
                    const snapshot = running().snapshot?.();
                    if (snapshot === undefined) throw fail("not-supported", "this connector keeps no snapshots");
                    return snapshot;
                });
            },
        },
        settings: settingsExport(plugin.validate?.bind(plugin)),
    };
}

/** Bytes of `link` before `offset` are dealt with. */
export function consumed(link: string, offset: number): Action {
    return { tag: "consumed", val: { link, offset } };
}

/** Sends text or bytes. Dropped when the epoch is over. */
export function send(link: string, epoch: number, ...parts: (string | Uint8Array | Part)[]): Action {
    return { tag: "send", val: { link, epoch, text: false, parts: parts.map(part) } };
}

/** Sends one message of text on a link that has messages (WebSocket); `send` makes a binary one. */
export function sendText(link: string, epoch: number, ...parts: (string | Part)[]): Action {
    return { tag: "send", val: { link, epoch, text: true, parts: parts.map(part) } };
}

function part(value: string | Uint8Array | Part): Part {
    if (typeof value === "string") return { tag: "literal", val: utf8(value) };
    return value instanceof Uint8Array ? { tag: "literal", val: value } : value;
}

/** A secret that the host puts in at the socket, in a form such as `plain` or `md5-hex`. */
export function secret(name: string, form: string, prefix = "", suffix = ""): Part {
    return { tag: "secret", val: { name, form, prefix: utf8(prefix), suffix: utf8(suffix) } };
}

/**
 * Tells a fact, with the PBX's own time of it (nanoseconds since the Unix epoch) when it says; `facts` are what the fact's
 * record has no field for.
 */
export function fact(fact: Fact, atPbxNs: number | null = null, facts: { [name: string]: string } = {}): Action {
    return { tag: "event", val: { atPbxNs, fact, facts: Object.entries(facts) } };
}

/** Ends a command well; `detail` is JSON text. */
export function done(command: Command, detail = ""): Action {
    return outcome(command, "done", null, detail);
}

/** Ends a command that the PBX refused. What is `retryable` may be tried again by the host. */
export function failed(command: Command, code: string, message: string, retryable = false): Action {
    return outcome(command, "failed", { code, message, retryable }, "");
}

/** Ends a command that makes no sense here. */
export function rejected(command: Command, code: string, message: string): Action {
    return outcome(command, "rejected", { code, message, retryable: false }, "");
}

function outcome(
    { id }: Command,
    outcome: string,
    error: { code: string; message: string; retryable: boolean } | null,
    detail: string,
): Action {
    return { tag: "command-outcome", val: { id, outcome, error, detail } };
}

/** The value of an argument; null when it was not given. */
export function argument(command: Command, name: string): string | null {
    return command.arguments.find(([key]) => key === name)?.[1] ?? null;
}

/** A whole picture of `scope` (`all`, `calls`, `queues` or `extensions`): begin, each thing, end. */
export function picture(id: number, scope: string, facts: Fact[]): Action[] {
    return [
        { tag: "resync-begin", val: { id, scope } },
        ...facts.map((fact) => item(id, fact)),
        { tag: "resync-end", val: id },
    ];
}

/** One thing of the picture of that id, when the picture is told over several steps. */
export function item(id: number, fact: Fact, facts: { [name: string]: string } = {}): Action {
    return { tag: "resync-item", val: { id, fact, facts: Object.entries(facts) } };
}

/** A request to a host that the manifest names and the admin allows. */
export interface Request {
    method?: string;
    headers?: { [name: string]: string };
    secretHeaders?: SecretHeader[];
    /** Text, bytes, or pieces with secrets among them (`secret`). */
    body?: string | Uint8Array | (string | Uint8Array | Part)[];
    /** For all of it; 0: the host's usual time. */
    timeoutMs?: number;
}

/** Asks a web service; the input `http-response` carries `id`. */
export function http(id: number, url: string, request: Request = {}): Action {
    const { method = "GET", headers = {}, secretHeaders = [], body = "", timeoutMs = 0 } = request;
    const pieces = (Array.isArray(body) ? body : [body]).map(part);
    const val = { id, method, url, headers: Object.entries(headers), secretHeaders, body: pieces, timeoutMs, facts: [] };
    return { tag: "http-request", val };
}

/** A header such as `authorization: Bearer <the secret>`. The host puts the secret in; the plugin never sees it. */
export function secretHeader(name: string, before: string, secret: string): SecretHeader {
    return { name, before, secret: { name: secret, form: "plain", prefix: new Uint8Array(), suffix: new Uint8Array() } };
}

/** A `wake` so many milliseconds from now; replaces the one before. */
export function wakeIn(now: Now, ms: number): Action {
    return { tag: "wake-at", val: now.monotonicNs + ms * 1_000_000 };
}

/** Closes a link; dial again soon (`normal`), late (`slow`), or not before the config changes. */
export function close(link: string, reason: string, retry: "normal" | "slow" | "never-until-config-change" = "normal"): Action {
    return { tag: "close", val: { link, reason, retry } };
}
