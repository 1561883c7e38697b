/**
 * An observer: it sees what happened, after it is committed, in order.
 *
 *     export const { observer, settings } = defineObserver<Settings>({
 *         step(inputs, { settings }) {
 *             const actions: Action[] = [];
 *             for (const input of inputs) {
 *                 if (input.tag === "event") actions.push(ack(input.val.seq));
 *             }
 *             return actions;
 *         },
 *     });
 */
import { WishesShape } from "./contract/hooks.ts";
import { ActionShape, type Action, type Event, type Input, type Observer } from "./contract/observer.ts";
import type { Settings as SettingsExport } from "./contract/settings.ts";
import { answering, parsed, settingsExport, wishes } from "./glue.ts";
import { type Attributes, type Config, type Lookup, type Now, type Problem, type Wishes, store as kept } from "./hooks.ts";
import type { Shape } from "./shape.ts";

export { type Answer, type Attributes, type Lookup, type Now, type Problem, type Request, type Wishes } from "./hooks.ts";
export { attribute, attributes, fail, http, log, PluginError, problem, secretHeader, stored, text, utf8, worked } from "./hooks.ts";
export type { Action, Event, Input };

/** What every step gets besides its inputs. */
export interface Observing<Settings> {
    /** The instance's id in the config. */
    id: string;
    settings: Settings;
    /** What is known of the host, e.g. `host`: its version. */
    host: Attributes;
    now: Now;
}

/** What you write. */
export interface ObserverPlugin<Settings> {
    /**
     * Once per instance, before any step. To see some events only:
     * `start: () => ({ facts: attributes({ events: "call.ended queue.*" }) })`.
     */
    start?(settings: Settings): Partial<Wishes>;
    /** One transaction: its actions count only if it returned. After a crash, events come again from the last `ack`. */
    step(inputs: Input[], context: Observing<Settings>): Action[];
    /** A second look at settings that fit the schema: what is wrong with them. */
    validate?(settings: Settings): Problem[];
}

const ACTIONS: Shape = { list: ActionShape };

/** Makes the component's exports of it. */
export function defineObserver<Settings>(plugin: ObserverPlugin<Settings>): { observer: Observer; settings: SettingsExport } {
    let config: Config | null = null;
    let settings: Settings | null = null;
    return {
        observer: {
            init(given) {
                return answering("start", WishesShape, () => {
                    config = given;
                    settings = parsed<Settings>(given.settings);
                    return wishes(plugin.start?.(settings));
                });
            },
            step(now, inputs) {
                const context = { id: config?.id ?? "", settings: settings as Settings, host: config?.facts ?? [], now };
                return answering("step", ACTIONS, () => plugin.step(inputs, context));
            },
        },
        settings: settingsExport(plugin.validate),
    };
}

/** Everything up to this `seq` is dealt with; stores of the same step are kept in the same transaction. */
export function ack(seq: number): Action {
    return { tag: "ack", val: seq };
}

/** Asks the host; the answer comes as an input. */
export function lookup(question: Lookup): Action {
    return { tag: "lookup", val: question };
}

/** Keeps a value in the instance's own store; null removes the key. */
export function store(key: string, value: string | Uint8Array | null): Action {
    return { tag: "store", val: kept(key, value) };
}

/** A `wake` so many milliseconds from now; replaces the one before. */
export function wakeIn(now: Now, ms: number): Action {
    return { tag: "wake-at", val: now.monotonicNs + ms * 1_000_000 };
}
