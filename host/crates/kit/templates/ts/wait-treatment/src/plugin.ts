/** Greets the caller, plays music, lets a key choose a queue, and hands over. */
import {
    answer, defineTreatment, goOn, handOver, music, plan, play, problem, queue, wait,
    type Cause, type Plan, type Problem, type Step, type Waiting,
} from "../sdk/treatment.ts";

/** What the admin configures; see settings.schema.json, by which it is valid when it comes here. */
interface Settings {
    /** A recording, by the PBX's name of it. */
    greeting: string;
    /** The queue each key leads to. */
    keys?: { [key: string]: string };
    wait_secs?: number;
}

/** What is remembered of a caller: nothing here. The host keeps it between two calls, as JSON. */
type State = null;

export const { waitTreatment, settings } = defineTreatment<Settings, State>({
    fresh: () => null,

    /** Called when something happened to this caller. A plan replaces what has not begun of the one before it. */
    next(_waiting: Waiting, cause: Cause, { settings, state }): Plan {
        // Every plan says which keys it listens to. Other keys are not heard by anybody.
        const keys = Object.keys(settings.keys ?? {}).join("");
        switch (cause.tag) {
            case "started":
                return plan(state, [answer(), play(settings.greeting), ...musicThenOn(settings)], { keys });
            case "key": {
                const name = settings.keys?.[cause.val];
                if (name === undefined) return goOn(state, { keys });
                return plan(state, [handOver(queue(name))], { reason: `the caller pressed ${cause.val}` });
            }
            // A recording that the PBX does not have must not cost the caller anything.
            case "failed":
                return plan(state, musicThenOn(settings), { keys, reason: `step ${cause.val.step} failed: ${cause.val.error.code}` });
            // The place did not take the caller, or the host began anew: some music, and on.
            case "came-back":
            case "resumed":
                return plan(state, musicThenOn(settings), { keys });
            default:
                return goOn(state, { keys });
        }
    },

    /** What a schema cannot say. An admin sees it before anything runs. */
    validate(settings): Problem[] {
        const wrong = Object.keys(settings.keys ?? {}).filter((key) => !/^[0-9*#A-D]$/.test(key));
        return wrong.map((key) => problem(`keys.${key}`, `\`${key}\` is no key; use 0-9, *, # or A-D`));
    },
});

function musicThenOn(settings: Settings): Step[] {
    // A hand-over without a place goes where the router said.
    return [music(), wait((settings.wait_secs ?? 20) * 1000), handOver()];
}
