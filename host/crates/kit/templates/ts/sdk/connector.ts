/**
 * A connector: a pure state machine between a PBX's bytes and facts about its calls.
 *
 *     export const { connector, state, settings } = defineConnector<Settings>(MyConnector);
 */
import { utf8 } from "./bytes.ts";
import {
    ActionShape, SnapshotShape,
    type Action, type Command, type Config, type Connector, type Input, type Now, type Part, type Snapshot, type State,
} from "./contract/connector.ts";
import type { Problem, Settings as SettingsExport } from "./contract/settings.ts";
import type { Fact } from "./contract/telephony.ts";
import { answering, fail, parsed, settingsExport } from "./glue.ts";
import type { Shape } from "./shape.ts";

export { text, utf8 } from "./bytes.ts";
export { fail, PluginError } from "./glue.ts";
export { log } from "./log.ts";
export type { Action, Bytes, Command, Config, Input, LinkClosed, LinkUp, Now, Part, Snapshot } from "./contract/connector.ts";
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
    return { tag: "send", val: { link, epoch, parts: parts.map(part) } };
}

function part(value: string | Uint8Array | Part): Part {
    if (typeof value === "string") return { tag: "literal", val: utf8(value) };
    return value instanceof Uint8Array ? { tag: "literal", val: value } : value;
}

/** A secret that the host puts in at the socket, in a form such as `plain` or `md5-hex`. */
export function secret(name: string, form: string, prefix = "", suffix = ""): Part {
    return { tag: "secret", val: { name, form, prefix: utf8(prefix), suffix: utf8(suffix) } };
}

/** Tells a fact. */
export function fact(fact: Fact, atPbx: number | null = null): Action {
    return { tag: "event", val: { atPbx, fact } };
}

/** Ends a command well; `detail` is JSON text. */
export function done(command: Command, detail = ""): Action {
    return outcome(command, "done", null, detail);
}

/** Ends a command that the PBX refused. */
export function failed(command: Command, code: string, message: string): Action {
    return outcome(command, "failed", { code, message, retryable: false }, "");
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
        ...facts.map((fact): Action => ({ tag: "resync-item", val: { id, fact } })),
        { tag: "resync-end", val: id },
    ];
}

/** A `wake` so many milliseconds from now; replaces the one before. */
export function wakeIn(now: Now, ms: number): Action {
    return { tag: "wake-at", val: now.monotonicNs + ms * 1_000_000 };
}

/** Closes a link; dial again soon (`normal`), late (`slow`), or not before the config changes. */
export function close(link: string, reason: string, retry: "normal" | "slow" | "never-until-config-change" = "normal"): Action {
    return { tag: "close", val: { link, reason, retry } };
}
