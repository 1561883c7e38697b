/**
 * A router: it decides where a call goes.
 *
 *     export const { router, settings } = defineRouter<Settings>({
 *         route(call, { settings }) {
 *             if (settings.vip.includes(call.callerE164)) return send(queue("vip"), "on the VIP list");
 *             return pass();
 *         },
 *     });
 */
import { WishesShape } from "./contract/hooks.ts";
import { DecisionShape, type Decision, type Router, type Treat, type Verdict } from "./contract/router.ts";
import type { Settings as SettingsExport } from "./contract/settings.ts";
import { answering, parsed, settingsExport, wishes } from "./glue.ts";
import {
    type Call, type Config, type Context, type Extras, type Lookup, type Problem, type Target, type Wishes,
    Answers, attributes, patch, stores,
} from "./hooks.ts";

export * from "./hooks.ts";
export type { Decision, Verdict };

/** What you write. */
export interface RouterPlugin<Settings> {
    /** Once per instance, before any call: what you need with every call. */
    start?(settings: Settings): Partial<Wishes>;
    /** Decides. After `need` it is asked about the same call again, then with `answers`. */
    route(call: Call, context: Context<Settings>): Decision;
    /** A second look at settings that fit the schema: what is wrong with them. */
    validate?(settings: Settings): Problem[];
}

/** Makes the component's exports of it. */
export function defineRouter<Settings>(plugin: RouterPlugin<Settings>): { router: Router; settings: SettingsExport } {
    let config: Config | null = null;
    let settings: Settings | null = null;
    return {
        router: {
            init(given) {
                return answering("start", WishesShape, () => {
                    config = given;
                    settings = parsed<Settings>(given.settings);
                    return wishes(plugin.start?.(settings));
                });
            },
            route(now, call, answers) {
                const host = config?.facts ?? [];
                const context = { id: config?.id ?? "", settings: settings as Settings, host, now, answers: new Answers(answers) };
                return answering("route", DecisionShape, () => plugin.route(call, context));
            },
        },
        settings: settingsExport(plugin.validate),
    };
}

/** No opinion: the next router is asked. */
export function pass(reason = "", extras: Extras = {}): Decision {
    return decided({ tag: "pass" }, reason, extras);
}

/** There it goes. */
export function send(target: Target, reason: string, extras: Extras = {}): Decision {
    return decided({ tag: "send", val: target }, reason, extras);
}

/** A treatment comforts the caller first; `facts` are for the treatment. */
export function treat(
    { treatment = "", then = null, facts = {} }: { treatment?: string; then?: Target | null; facts?: { [name: string]: string } },
    reason: string,
    extras: Extras = {},
): Decision {
    const val: Treat = { treatment, then, facts: attributes(facts) };
    return decided({ tag: "treat", val }, reason, extras);
}

/** Not yet: the host looks these up and asks again, with all answers so far. At most 4 for each decision. */
export function need(lookups: Lookup | Lookup[], reason = ""): Decision {
    return decided({ tag: "need", val: Array.isArray(lookups) ? lookups : [lookups] }, reason, {});
}

function decided(verdict: Verdict, reason: string, extras: Extras): Decision {
    return { verdict, patch: patch(extras), stores: stores(extras.stores), reason, facts: [] };
}
