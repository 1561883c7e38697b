/**
 * A wait treatment: it says what a waiting caller hears, and what their keys do.
 *
 *     export const { waitTreatment, settings } = defineTreatment<Settings, State>({
 *         fresh: () => ({ round: 0 }),
 *         next(waiting, cause, { settings, state }) {
 *             if (cause.tag === "key") return plan(state, [handOver(queue("sales"))], { reason: "pressed a key" });
 *             return plan(state, [answer(), music(), wait(20_000), play("queue-thankyou")], { keys: "1" });
 *         },
 *     });
 */
import { text, utf8 } from "./bytes.ts";
import { WishesShape } from "./contract/hooks.ts";
import type { Settings as SettingsExport } from "./contract/settings.ts";
import { PlanShape, type Cause, type Collect, type Plan, type Step, type WaitTreatment, type Waiting } from "./contract/treatment.ts";
import { answering, fail, parsed, settingsExport, wishes } from "./glue.ts";
import { type Config, type Context, type Extras, type Lookup, type Problem, type Target, type Wishes, Answers, patch, stores } from "./hooks.ts";

export * from "./hooks.ts";
export type { Cause, Plan, Step, Waiting };

/** What every call gets besides the caller and the cause. */
export interface Treating<Settings, State> extends Context<Settings> {
    /** What the last plan for this caller kept; `fresh` the first time. */
    state: State;
}

/** What you write. The plugin keeps nothing itself: `State` is kept by the host for each caller, as JSON. */
export interface TreatmentPlugin<Settings, State> {
    /** Once per instance, before any caller: what you need with every call. */
    start?(settings: Settings): Partial<Wishes>;
    /** The state of a caller who has just come. */
    fresh(settings: Settings): State;
    /** What to do now. */
    next(waiting: Waiting, cause: Cause, context: Treating<Settings, State>): Plan;
    /** A second look at settings that fit the schema: what is wrong with them. */
    validate?(settings: Settings): Problem[];
}

/** Makes the component's exports of it. */
export function defineTreatment<Settings, State>(
    plugin: TreatmentPlugin<Settings, State>,
): { waitTreatment: WaitTreatment; settings: SettingsExport } {
    let config: Config | null = null;
    let settings: Settings | null = null;
    return {
        waitTreatment: {
            init(given) {
                return answering("start", WishesShape, () => {
                    config = given;
                    settings = parsed<Settings>(given.settings);
                    return wishes(plugin.start?.(settings));
                });
            },
            next(now, waiting, state, cause, answers) {
                return answering("next", PlanShape, () => {
                    const known = settings as Settings;
                    const kept = state.length === 0 ? plugin.fresh(known) : (JSON.parse(text(state)) as State);
                    const host = config?.facts ?? [];
                    const context = { id: config?.id ?? "", settings: known, host, now, answers: new Answers(answers), state: kept };
                    return plugin.next(waiting, cause, context);
                });
            },
        },
        settings: settingsExport(plugin.validate),
    };
}

/** The rest of a plan. */
export interface More extends Extras {
    /** Keys listened to from now on, e.g. `12*`; others are not heard. */
    keys?: string;
    /** Call again after so many milliseconds, at least 250 and at most an hour. */
    wakeMs?: number | null;
    /** The hook is called with `looked-up`; the steps go on meanwhile. */
    lookups?: Lookup[];
    /** One sentence for whoever asks why; it stays with the call. */
    reason?: string;
}

/** From now on these steps; what has not begun of an earlier plan is dropped. */
export function plan(state: unknown, steps: Step[] | null, more: More = {}): Plan {
    const { keys = "", wakeMs = null, lookups = [], reason = "" } = more;
    const kept = stores(more.stores);
    return { state: encoded(state), steps, keys, wakeMs, lookups, patch: patch(more), stores: kept, reason, facts: [] };
}

/** The earlier steps go on; `keys` and `wakeMs` are this plan's all the same. */
export function goOn(state: unknown, more: More = {}): Plan {
    return plan(state, null, more);
}

function encoded(state: unknown): Uint8Array {
    const json = JSON.stringify(state);
    if (json === undefined) throw fail("bad-answer", "the state is nothing that JSON can hold");
    return utf8(json);
}

/** Answer the call; without it the caller hears early media or nothing. */
export function answer(): Step {
    return { tag: "answer" };
}

/** Play recordings by the PBX's names, one after the other, e.g. `queue-thankyou`. */
export function play(...recordings: string[]): Step {
    return { tag: "play", val: recordings };
}

/** Say a number: `sayNumber(42)`. */
export function sayNumber(number: number): Step {
    return { tag: "say", val: { kind: "number", value: String(number) } };
}

/** Say digit by digit. */
export function sayDigits(digits: string): Step {
    return { tag: "say", val: { kind: "digits", value: digits } };
}

/** Music of this class from now on, also between and after announcements; none: the PBX's usual class. */
export function music(className = ""): Step {
    return { tag: "music", val: className };
}

/** No music from now on. */
export function silence(): Step {
    return { tag: "silence" };
}

/** Gather keys; the hook is called with `collected`: what was pressed, and what ended it. */
export function collect({ most, timeoutMs = 5000, betweenMs = 3000, endKeys = "#" }: Partial<Collect> & { most: number }): Step {
    return { tag: "collect", val: { most, timeoutMs, betweenMs, endKeys, facts: [] } };
}

/** Milliseconds, at most an hour. */
export function wait(ms: number): Step {
    return { tag: "wait", val: ms };
}

/** The treatment ends. None: where the router said. */
export function handOver(target: Target | null = null): Step {
    return { tag: "hand-over", val: target };
}
