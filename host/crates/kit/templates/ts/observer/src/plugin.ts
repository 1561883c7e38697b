/** Keeps the last calls that ended, as the events told them. */
import { ack, defineObserver, log, store, type Action } from "../sdk/observer.ts";

/** What the admin configures; see settings.schema.json, by which it is valid when it comes here. */
interface Settings {
    keep?: number;
}

export const { observer, settings } = defineObserver<Settings>({
    /** One transaction: what it stores and how far it came are kept together, or not at all. */
    step(inputs, { settings }) {
        const actions: Action[] = [];
        for (const input of inputs) {
            if (input.tag === "event") {
                const { seq, kind, json } = input.val;
                // The same event may come again after a crash: its number makes the key the same, too.
                if (kind === "call.ended") actions.push(store(`ended.${seq % (settings.keep ?? 100)}`, json));
                actions.push(ack(seq));
            } else if (input.tag === "lost") {
                log.warning(`events up to ${input.val} are gone`);
            }
        }
        return actions;
    },
});
