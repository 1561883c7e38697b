/** Music, an announcement now and then, and a key that ends the wait: in a queue, before those who wait on. */
import {
    answer, defineTreatment, goOn, handOver, log, music, plan, play, queue, wait,
    type Plan, type Step, type Waiting,
} from "../sdk/treatment.ts";

/** What the admin configures; see settings.schema.json. */
interface Settings {
    announcement: string;
    greeting?: string;
    music?: string;
    queue: string;
    priority?: number;
    key?: string;
    every_secs?: number;
    most_secs?: number;
}

/** What is remembered of a caller. The host keeps it, also while this plugin is replaced by a newer version. */
interface State {
    /** Announcements so far. */
    heard: number;
    /** The PBX does not have the recording: music only. */
    quiet: boolean;
    /** How often the place did not take the caller. */
    cameBack: number;
}

export const { waitTreatment, settings } = defineTreatment<Settings, State>({
    fresh: () => ({ heard: 0, quiet: false, cameBack: 0 }),

    next(waiting, cause, { settings, state }) {
        const key = settings.key ?? "1";
        switch (cause.tag) {
            case "started": {
                const greeting = settings.greeting === undefined ? [] : [play(settings.greeting)];
                return comfort([answer(), ...greeting], waiting, settings, state);
            }
            case "finished":
                return comfort([], waiting, settings, { ...state, heard: state.heard + (state.quiet ? 0 : 1) });
            case "key": {
                const target = queue(settings.queue, { priority: settings.priority ?? 5 });
                const reason = `pressed ${cause.val} after ${Math.round(waiting.waitedMs / 1000)} s and ${state.heard} announcements`;
                return plan(state, [handOver(target)], { reason, variables: { PRESSED: cause.val } });
            }
            // What a caller does not hear must not cost them the call.
            case "failed":
                log.warning(`${cause.val.error.code}: ${cause.val.error.message}; this caller hears music only`);
                return comfort([], waiting, settings, { ...state, quiet: true });
            case "came-back":
                if (state.cameBack >= 2) return plan(state, [handOver()], { reason: `came back three times: ${cause.val}` });
                return comfort([], waiting, settings, { ...state, cameBack: state.cameBack + 1 });
            case "resumed":
                return comfort([], waiting, settings, state);
            default:
                return goOn(state, { keys: key });
        }
    },
});

/** One round: music for a while, then the announcement; `finished` begins the next. */
function comfort(first: Step[], waiting: Waiting, settings: Settings, state: State): Plan {
    const left = (settings.most_secs ?? 600) * 1000 - waiting.waitedMs;
    const every = (settings.every_secs ?? 20) * 1000;
    // A hand-over without a place goes where the router said.
    if (left <= 0) return plan(state, [...first, handOver()], { reason: `waited ${Math.round(waiting.waitedMs / 1000)} s` });
    const round = [music(settings.music ?? ""), wait(Math.min(every, left))];
    if (!state.quiet && left > every) round.push(play(settings.announcement));
    return plan(state, [...first, ...round], { keys: settings.key ?? "1" });
}
