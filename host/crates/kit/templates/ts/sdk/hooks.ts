/** What routers, wait treatments and observers share: places to go, questions to the host, the answers. */
import { text, utf8 } from "./bytes.ts";
import type { Answer, CivilTime, Call, Config, Lookup, Now, Patch, SecretHeader, Store, Target, Wishes } from "./contract/hooks.ts";
import type { Problem } from "./contract/settings.ts";
import type { Attributes } from "./contract/telephony.ts";

export { text, utf8 } from "./bytes.ts";
export { fail, PluginError, problem } from "./glue.ts";
export { log } from "./log.ts";
export type { Answer, Attributes, Call, CivilTime, Config, Lookup, Now, Patch, Problem, Store, Target, Wishes };

/** What every function of a hook gets besides its own input. */
export interface Context<Settings> {
    /** The instance's id in the config. */
    id: string;
    settings: Settings;
    /** What is known of the host, e.g. `host`: its version. */
    host: Attributes;
    now: Now;
    answers: Answers;
}

/** Into a queue of the PBX. */
export function queue(
    name: string,
    { priority = null, timeoutSecs = 0 }: { priority?: number | null; timeoutSecs?: number } = {},
): Target {
    return { tag: "queue", val: { name, priority, timeoutSecs, facts: [] } };
}

/** To an extension. */
export function extension(number: string, { timeoutSecs = 0 }: { timeoutSecs?: number } = {}): Target {
    return { tag: "extension", val: { number, timeoutSecs, facts: [] } };
}

/** To a place in the PBX's dialplan. */
export function dialplan(context: string, extension: string, priority = 1): Target {
    return { tag: "dialplan", val: { context, extension, priority, facts: [] } };
}

/** On in the dialplan, behind the place where the call was handed over. */
export function continueInDialplan(): Target {
    return { tag: "continue-in-dialplan" };
}

/** The call ends; 16 is politely, 17 busy, 21 rejected (Q.850). */
export function hangUp(cause = 16): Target {
    return { tag: "hang-up", val: { q850: cause, facts: [] } };
}

/** What a decision or a plan changes on the call, keeps, and says about itself. */
export interface Extras {
    /** Higher is served earlier. */
    priority?: number | null;
    language?: string | null;
    /** Channel variables, also seen by the PBX. */
    variables?: { [name: string]: string };
    /** Seen by hooks only. */
    facts?: { [name: string]: string };
    /** To keep in the instance's own store; null removes the key. */
    stores?: { [key: string]: string | Uint8Array | null };
}

export function patch({ priority = null, language = null, variables = {}, facts = {} }: Extras): Patch {
    return { priority, language, variables: attributes(variables), facts: attributes(facts) };
}

export function attributes(values: { [name: string]: string }): Attributes {
    return Object.entries(values);
}

/** The value of that name; null when there is none. */
export function attribute(values: Attributes, name: string): string | null {
    return values.find(([key]) => key === name)?.[1] ?? null;
}

/** A value to keep; null removes the key. */
export function store(key: string, value: string | Uint8Array | null): Store {
    return { key, value: typeof value === "string" ? utf8(value) : value, facts: [] };
}

export function stores(values: { [key: string]: string | Uint8Array | null } = {}): Store[] {
    return Object.entries(values).map(([key, value]) => store(key, value));
}

/** A request to a host that the manifest names and the admin allows. */
export interface Request {
    method?: string;
    headers?: { [name: string]: string };
    secretHeaders?: SecretHeader[];
    body?: string | Uint8Array;
    /** For all of it; 0: the host's usual time. */
    timeoutMs?: number;
}

/** Asks a web service. The answer carries `id`. */
export function http(id: string, url: string, request: Request = {}): Lookup {
    const { method = "GET", headers = {}, secretHeaders = [], body = "", timeoutMs = 0 } = request;
    const bytes = typeof body === "string" ? utf8(body) : body;
    return {
        id,
        question: { tag: "http", val: { method, url, headers: attributes(headers), secretHeaders, body: bytes, timeoutMs } },
        facts: [],
    };
}

/** Asks for the value of a key in the instance's own store. */
export function stored(id: string, key: string): Lookup {
    return { id, question: { tag: "stored", val: key }, facts: [] };
}

/** A header such as `authorization: Bearer <the secret>`. The host puts the secret in; the plugin never sees it. */
export function secretHeader(name: string, before: string, secret: string): SecretHeader {
    return { name, before, secret: { name: secret, form: "plain", prefix: new Uint8Array(), suffix: new Uint8Array() } };
}

/** What the host found out so far. */
export class Answers {
    readonly all: Answer[];

    constructor(answers: Answer[]) {
        this.all = answers;
    }

    /** The answer to the lookup of that id; null when it is not there yet. */
    get(id: string): Answer | null {
        return this.all.find((answer) => answer.id === id) ?? null;
    }

    /** The body as text, of an answer that went well (status 200 to 299); else null. */
    text(id: string): string | null {
        const answer = this.get(id);
        return answer !== null && worked(answer) ? text(answer.body) : null;
    }

    /** The body as JSON, of an answer that went well and is JSON; else null. */
    json<T>(id: string): T | null {
        const body = this.text(id);
        if (body === null) return null;
        try {
            return JSON.parse(body) as T;
        } catch {
            return null;
        }
    }
}

/** Did a lookup go well? If not, `answer.error?.message` says why, or the status does. */
export function worked(answer: Answer): boolean {
    return answer.error == null && answer.status >= 200 && answer.status < 300;
}
