/** Sends callers on a list to a queue of their own, and leaves everybody else to the next router. */
import { defineRouter, pass, problem, queue, send } from "../sdk/router.ts";

/** What the admin configures; see settings.schema.json. */
interface Settings {
    /** Numbers in E.164, e.g. `+4930123456`. */
    vip: string[];
    /** The queue they go to. */
    queue: string;
    priority?: number;
}

export const { router, settings } = defineRouter<Settings>({
    route(call, { settings }) {
        // It has waited in that queue already, and nobody came: the next router may know better.
        if (call.returnedFrom !== "") return pass(`came back from a ${call.returnedFrom}: ${call.outcome}`);
        if (!settings.vip.includes(call.callerE164)) return pass("not on the list");
        return send(queue(settings.queue, { priority: settings.priority ?? 10 }), "on the VIP list", {
            variables: { VIP: "yes" },
        });
    },

    validate(settings) {
        return settings.vip.flatMap((number, index) =>
            /^\+[1-9][0-9]{3,14}$/.test(number)
                ? []
                : [problem(`vip.${index}`, `\`${number}\` is no number in E.164; write it as +4930123456`)],
        );
    },
});
