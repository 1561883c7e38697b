/** Between the host's calls and your functions: settings are read, exceptions become errors, answers are checked. */
import type { Error as Refusal, Wishes } from "./contract/hooks.ts";
import { ProblemShape, type Problem } from "./contract/settings.ts";
import { log } from "./log.ts";
import { flaw, type Shape } from "./shape.ts";

/** Why a plugin cannot answer. The host notes it, and does what the admin configured for that case. */
export class PluginError extends Error {
    readonly code: string;
    readonly retryable: boolean;

    constructor(code: string, message: string, retryable = false) {
        super(message);
        this.name = "PluginError";
        this.code = code;
        this.retryable = retryable;
    }
}

/** Refuses: `throw fail("no-settings", "...")`. The code is kebab-case, the message one sentence with the fix. */
export function fail(code: string, message: string, retryable = false): PluginError {
    return new PluginError(code, message, retryable);
}

/** Runs `work`, checks what it answers, and throws what the contract knows: `{code, message, retryable}`. */
export function answering<T>(name: string, shape: Shape, work: () => T): T {
    let answer: T;
    try {
        answer = work();
        const wrong = flaw(answer, shape);
        if (wrong !== null) throw fail("bad-answer", `the answer of ${name}: ${name}${wrong}`);
    } catch (thrown) {
        throw refusal(thrown);
    }
    return answer;
}

function refusal(thrown: unknown): Refusal {
    if (thrown instanceof PluginError) {
        return { code: thrown.code, message: printable(thrown.message), retryable: thrown.retryable };
    }
    const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    const stack = thrown instanceof Error && thrown.stack ? `\n${thrown.stack}` : "";
    log.error(printable(`exception: ${message}${stack}`));
    return { code: "exception", message: printable(message), retryable: false };
}

/** A message must not itself be what the engine traps on. */
function printable(message: string): string {
    return flaw(message, "string") === null ? message : message.replace(/[\ud800-\udfff]/g, "?");
}

/** The settings as a value; the host has checked them by the schema. */
export function parsed<Settings>(settings: string): Settings {
    return JSON.parse(settings === "" ? "{}" : settings) as Settings;
}

/** The answer to `init`, with what was left out. */
export function wishes(wanted: Partial<Wishes> | undefined | void): Wishes {
    return { timeZones: wanted?.timeZones ?? [], facts: wanted?.facts ?? [] };
}

/**
 * Something wrong with the setting at `path`, e.g. `vip.0`. With an `error` the settings cannot be used; with a `warning`
 * they can, but the admin should know.
 */
export function problem(path: string, message: string, severity: "error" | "warning" = "error"): Problem {
    return { path, severity, message };
}

const PROBLEMS: Shape = { list: ProblemShape };

/** The `settings` export every plugin has. */
export function settingsExport<Settings>(validate: ((settings: Settings) => Problem[]) | undefined): {
    validate(settings: string): Problem[];
} {
    return {
        validate(settings) {
            try {
                return answering("validate", PROBLEMS, () => (validate ? validate(parsed<Settings>(settings)) : []));
            } catch (refused) {
                return [problem("", (refused as Refusal).message)];
            }
        },
    };
}

// A guest has no clock and no chance of its own. Asking the engine for them traps without a word, or answers the same
// for ever; so here they say so.
const inGuest = typeof (globalThis as { process?: unknown }).process === "undefined";
if (inGuest) {
    const without = (what: string, instead: string) => (): never => {
        throw fail("not-in-a-plugin", `a plugin has no ${what}; ${instead}`);
    };
    const clock = without("clock of its own", "take the time from `now`, or a civil time from the call's `times`");
    Math.random = without("randomness", "the same inputs must give the same answer");
    const RealDate = Date;
    const FixedDate = new Proxy(RealDate, {
        construct: (target, given) => (given.length === 0 ? clock() : Reflect.construct(target, given)),
        apply: () => clock(),
    });
    RealDate.now = clock;
    globalThis.Date = FixedDate;
}
